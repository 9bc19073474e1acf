// opswap_emu_switch(save, load): stores the stack pointer in *save and goes on at `load`.
    .text
    .globl opswap_emu_switch
    .hidden opswap_emu_switch
    .type opswap_emu_switch, @function
opswap_emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size opswap_emu_switch, . - opswap_emu_switch
    .section .note.GNU-stack, "", @progbits
