// Tells which threads wait for ever, for what and where, those that wait for the same in one line.
#include "deadlock.h"

namespace opswap::emu {
namespace {

std::string reason_of(const Thread &t, const std::string &place) {
  const Wait &wait = *t.wait;
  std::string reason = wait.what;
  reason += wait.of + (" " + std::to_string(wait.value));
  if (wait.on) reason += " of " + mbarrier_state(wait.on);
  if (!place.empty()) reason += ", at " + place;
  if (t.owner->cluster->blocks.size() > 1) reason += ", in block " + std::to_string(t.owner->rank) + " of the cluster";
  return reason;
}

// Neighbours as "first-last".
std::string ranges(const std::vector<uint32_t> &threads) {
  std::string text;
  for (size_t i = 0, last; i < threads.size(); i = last + 1) {
    for (last = i; last + 1 < threads.size() && threads[last + 1] == threads[last] + 1;) ++last;
    text += ' ' + std::to_string(threads[i]);
    if (last > i) text += '-' + std::to_string(threads[last]);
  }
  return text;
}

}  // namespace

Deadlock tell_deadlock(Cluster &cluster, std::string (*where)(Thread &)) {
  std::map<std::string, std::vector<uint32_t>> waiting;  // threads that wait for the same thing are one line
  size_t live = 0, all = 0;
  Deadlock told;
  for (auto &b : cluster.blocks) {
    live += b->live, all += b->threads.size();
    for (Thread &t : b->threads) {
      if (t.done) continue;
      const std::string place = where(t);
      if (told.place.empty()) told.place = place;
      waiting[reason_of(t, place)].push_back(t.linear);
    }
  }
  told.text = "deadlock: " + std::to_string(live) + " of " + std::to_string(all) + " threads wait";
  for (const auto &[reason, threads] : waiting) told.text += "\n  " + reason + ": threads" + ranges(threads);
  return told;
}

}  // namespace opswap::emu
