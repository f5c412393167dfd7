// Saves the callee-saved registers on this stack, stores its top and continues on the other one.
asm(R"(
.pushsection .text
.globl xplain_switch_fiber
.type xplain_switch_fiber, @function
xplain_switch_fiber:
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
.size xplain_switch_fiber, .-xplain_switch_fiber
.popsection
)");
