// The sanitizer contexts of asynchronous units, which are used again, and the proxy fence.
#include "unit.h"

#include "emulator/async.h"

namespace opswap::emu {

static std::vector<void *> &spare_contexts() {
  thread_local std::vector<void *> spare;
  return spare;
}
Context::Context() : context_(nullptr) {
  auto &spare = spare_contexts();
  context_ = spare.empty() ? race::create() : spare.back();
  if (!spare.empty()) spare.pop_back();
}
Context::~Context() {
  void *here = race::current();  // the unit's block has ended: whoever goes on comes after the unit
  enter();
  race::release(this);
  race::enter(here);
  race::acquire(this);
  spare_contexts().push_back(context_);
}

void fence_async_proxy() {
  race::release(&self());
  race::enter(self().proxy);
  race::acquire(&self());
  race::enter(self().context);
}

}  // namespace opswap::emu
