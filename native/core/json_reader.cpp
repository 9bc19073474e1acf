// The JSON reader: one function per kind of value, on a text that ends; a key that comes twice is refused.
#include "json_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace opswap {
namespace {

constexpr int kDepth = 8;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool document(Json &out) {
    if (!value(out, 0)) return false;
    skip();
    return at_ == text_.size() || wrong("something behind the end");
  }
  std::string error() const { return error_; }

 private:
  std::string_view text_;
  size_t at_ = 0;
  std::string error_;

  bool wrong(const char *what) {
    if (error_.empty()) error_ = "byte " + std::to_string(at_) + ": " + what;
    return false;
  }

  void skip() {
    while (at_ < text_.size() && std::string_view(" \n\r\t").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  bool take(char c) {
    skip();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return wrong("no JSON value");
    at_ += expected.size();
    return true;
  }

  bool value(Json &out, int depth) {
    skip();
    if (depth > kDepth) return wrong("nested too deep");
    if (at_ == text_.size()) return wrong("the text ends early");
    const size_t start = at_;
    if (!of_kind(out, depth)) return false;
    out.raw = text_.substr(start, at_ - start);
    return true;
  }

  bool of_kind(Json &out, int depth) {
    switch (text_[at_]) {
      case '{':
        return object(out, depth);
      case '[':
        return list(out, depth);
      case '"':
        out.kind = Json::Kind::string;
        return string(out.text);
      case 't':
      case 'f':
        out.kind = Json::Kind::boolean;
        out.truth = text_[at_] == 't';
        return word(out.truth ? "true" : "false");
      case 'n':
        return word("null");
      default:
        return number(out);
    }
  }

  bool number(Json &out) {
    out.kind = Json::Kind::number;
    const char *first = text_.data() + at_, *last = text_.data() + text_.size();
    const char c = *first;
    if (c != '-' && (c < '0' || c > '9')) return wrong("no JSON value");
    const auto [end, failed] = std::from_chars(first, last, out.number);
    if (failed != std::errc{} || !std::isfinite(out.number)) return wrong("a number that cannot be read");
    at_ += size_t(end - first);
    return true;
  }

  bool string(std::string &out) {
    ++at_;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') return ++at_, true;
      if (static_cast<unsigned char>(c) < 0x20) return wrong("a control character in a string");
      if (c != '\\') {
        out += c;
      } else if (!escape(out)) {
        return false;
      }
    }
    return wrong("the text ends inside a string");
  }

  // Names of devices and cases have no other escapes; those of code points are kept as they are written.
  bool escape(std::string &out) {
    if (++at_ == text_.size()) return wrong("the text ends inside a string");
    static constexpr std::string_view from = "\"\\/nt", to = "\"\\/\n\t";
    const size_t which = from.find(text_[at_]);
    if (which != std::string_view::npos)
      out += to[which];
    else if (text_[at_] == 'u')
      out += "\\u";
    else
      return wrong("an escape that is not known");
    return true;
  }

  bool list(Json &out, int depth) {
    out.kind = Json::Kind::list;
    ++at_;
    if (take(']')) return true;
    do {
      if (!value(out.items.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take(']') || wrong("a list without ]");
  }

  bool object(Json &out, int depth) {
    out.kind = Json::Kind::object;
    ++at_;
    if (take('}')) return true;
    do {
      skip();
      if (at_ == text_.size() || text_[at_] != '"') return wrong("a key needs to be a string");
      std::string key;
      if (!string(key)) return false;
      if (std::find(out.keys.begin(), out.keys.end(), key) != out.keys.end()) return wrong("a key that comes twice");
      out.keys.push_back(std::move(key));
      if (!take(':')) return wrong("a key without :");
      if (!value(out.items.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take('}') || wrong("an object without }");
  }
};

}  // namespace

const Json *Json::find(std::string_view key) const {
  const auto at = std::find(keys.begin(), keys.end(), key);
  return at == keys.end() ? nullptr : &items[size_t(at - keys.begin())];
}

std::string read_json(std::string_view text, Json &out) {
  Reader reader(text);
  return reader.document(out) ? "" : reader.error();
}

}  // namespace opswap
