// Goes on at another stack. Inlined and left by a jump: a call or a return here would set the processor's prediction of
// return addresses off for every caller, which waiting fibers have in common.
#pragma once

#if !defined(__x86_64__)
#error "the emulator's fibers are written for x86-64"
#endif

namespace opswap::emu {

// Compiled with -mno-red-zone: the stack is used here. Stores the stack pointer in *save; `load` is one that was stored
// so, or points to an address to start at.
[[gnu::always_inline]] inline void switch_stack(void **save, void *load) {
  asm volatile(
      "pushq %%rbp\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "movq %%rsp, (%0)\n\t"
      "movq %1, %%rsp\n\t"
      "popq %%rax\n\t"
      "jmpq *%%rax\n"
      "1:\tpopq %%rbp"
      : "+D"(save), "+S"(load)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2",
        "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
        "cc", "memory");
}

}  // namespace opswap::emu
