// The reader of local evidence without the library: digests, what is refused with which words, and cut and spoilt
// files.
#include "../harness.h"

#include <cmath>
#include <random>

#include "evidence_file.h"
#include "json_reader.h"
#include "sha256.h"

using namespace opswap;

const char *opswap_last_error() { return ""; }  // the harness prints it; there is no library here

namespace {

const KernelSources kSources[] = {{"copy", "aa11", 2, "scalar:float32 scalar:bfloat16"}};
const std::string kPlace = "H100/copy.json";

const std::string kBody = R"( "schema": 1,
 "op": "copy", "implementation": "sm90", "backend": "cuda",
 "device": {"model": "H100", "name": "NVIDIA H100 80GB HBM3", "architecture": "sm_90", "sms": 132},
 "commit": "", "sources": "aa11", "driver": "580.1", "cuda": "13.0", "clocks_mhz": {"sm": [1980], "memory": []},
 "copy_gbps": 2.9e3, "matrix_tflops": {}, "correctness": [
  {"case": {"T": 1}, "types": {"scalar": "float32"}, "passed": true, "outputs": {}},
  {"case": {"T": 1}, "types": {"scalar": "bfloat16"}, "passed": true, "outputs": {}}],
 "timing": [], "build": "bb22bb22bb22bb", "version": "0.1.0", "refused": [], "date": "2026-11-29"}
)";

std::string signed_text(const std::string &body) { return "{\"digest\": \"" + sha256_hex(body) + "\",\n" + body; }

std::string read(const std::string &text, CardEvidence &out, const std::string &place = kPlace) {
  return read_evidence(place, text, kSources, 1, out);
}

// The body with one text replaced, under a right digest.
std::string changed(const std::string &from, const std::string &to) {
  std::string body = kBody;
  body.replace(body.find(from), from.size(), to);
  CardEvidence out;
  return read(signed_text(body), out);
}

void check_has(const std::string &text, const std::string &part) {
  if (text.find(part) != std::string::npos) return;
  std::fprintf(stderr, "'%s' does not say '%s'\n", text.c_str(), part.c_str());
  std::_Exit(1);
}

void digests() {
  CHECK_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

void what_counts() {
  CardEvidence out;
  CHECK_EQ(read(signed_text(kBody), out), "");
  CHECK_EQ(out.op + " " + out.model + " " + out.date, "copy H100 2026-11-29");
  CHECK_EQ(out.device, "NVIDIA H100 80GB HBM3");
  CHECK(!out.timed);
  std::string timed = kBody;
  timed.replace(timed.find("\"timing\": []"), 12, "\"timing\": [{\"us\": 1.5}]");
  CHECK_EQ(read(signed_text(timed), out), "");
  CHECK(out.timed);
}

void what_is_refused() {
  CardEvidence out;
  std::string edited = signed_text(kBody);
  edited.replace(edited.find("2026"), 4, "2027");
  check_has(read(edited, out), "it was edited");
  check_has(read(edited, out), "; run: python -m opswap.evidence run copy");
  check_has(read(kBody, out), "does not begin with its digest");
  check_has(read(signed_text(kBody), out, "H200/copy.json"), "lies elsewhere");
  check_has(changed("\"cuda\",", "1.0 2,"), "it is not the JSON");
  check_has(changed("\"backend\": \"cuda\"", "\"backend\": \"emulated\""),
            "emulated run, which is no evidence; remove");
  check_has(changed("sm_90", "sm_80"), "architecture sm_80, the kernels are made for sm_90; remove");
  check_has(changed("\"aa11\"", "\"cc33\""), "it is of other sources, build bb22bb22bb22");
  check_has(changed("\"op\": \"copy\"", "\"op\": \"cut\""), "no kernels of the op");
  check_has(changed("true", "false"), "did not pass");
  check_has(changed("\"bfloat16\"", "\"float16\""), "no case passed with scalar:bfloat16");
  check_has(changed("\"bfloat16\"", "\"float32\""), "it has 1 of 2 cases");
  check_has(changed("\"schema\": 1", "\"schema\": 2"), "another schema");
  check_has(changed("\"timing\"", "\"times\""), "'timing' is missing");
  check_has(changed("\"timing\": []", "\"timing\": [], \"more\": 1"), "does not know its key 'more'");
  check_has(changed("\"model\": \"H100\"", "\"model\": \"H100 H200\""), "cannot be read");
  check_has(read(std::string(kMostEvidenceBytes + 1, ' '), out), "larger than 1 MiB");
}

void what_json_is() {
  Json out;
  for (const char *text : {"", "{", "[1,]", "{\"a\":1,\"a\":2}", "nul", "1 2", "\"\\x\"", "\"\n\"", "1e999", "{1:2}",
                           "+1", "[[[[[[[[[[1]]]]]]]]]]", "\"cut", "\"cut\\"})
    CHECK(!read_json(text, out = {}).empty());
  CHECK_EQ(read_json(" {\"a\": [1, -2.5e3, true, null, \"b\\\"\"]} ", out = {}), "");
  CHECK_EQ(out.find("a")->items[1].number, -2500.0);
  CHECK_EQ(out.find("a")->items[4].text, "b\"");
}

// Under the sanitizers: whatever the bytes, the reader ends with an answer, and never takes what was not passed.
void spoilt_files() {
  std::mt19937 random(7);
  for (size_t end = 0; end < kBody.size(); ++end) {
    CardEvidence out;
    CHECK(!read(signed_text(kBody.substr(0, end)), out).empty() || end + 1 == kBody.size());
  }
  for (int round = 0; round < 20000; ++round) {
    std::string body = kBody;
    for (unsigned n = 1 + random() % 4; n > 0; --n) {
      const size_t at = random() % body.size();
      if (random() % 3 == 0)
        body.insert(at, body.substr(random() % body.size(), random() % 64));
      else
        body[at] = "{}[]\",:\\0e-tn"[random() % 13];
    }
    CardEvidence out;
    if (read(signed_text(body), out).empty()) CHECK_EQ(out.op + out.model, "copyH100");
  }
}

}  // namespace

int main() {
  digests();
  what_counts();
  what_is_refused();
  what_json_is();
  spoilt_files();
  std::puts("evidence passed");
}
