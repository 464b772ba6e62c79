// tests/simt/fibre.cc: stacks and switches.
//
// SPDX-License-Identifier: Apache-2.0
#include "fibre.h"

#include <sys/mman.h>
#include <unistd.h>
#include <cstdint>
#include <vector>

#if defined(__x86_64__) && !defined(FBQ_SIMT_UCONTEXT)
#define FIBRE_ASM 1
#else
#define FIBRE_ASM 0
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FIBRE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBRE_ASAN 1
#endif
#endif
#ifndef FIBRE_ASAN
#define FIBRE_ASAN 0
#endif
#if FIBRE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if FIBRE_ASM
// Save what the ABI says a call preserves, swap stacks, restore. Every fibre runs with the same
// floating-point control words, so those stay as they are.
extern "C" void fbq_simt_switch(void **save, void *to);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl fbq_simt_switch\n"
        ".hidden fbq_simt_switch\n"
        ".type fbq_simt_switch, @function\n"
        "fbq_simt_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fbq_simt_switch, .-fbq_simt_switch\n");
#endif

namespace simt
{

namespace
{

// The scheduler's own context while a fibre runs, and the fibre that is being entered.
struct scheduler_state {
    void *stack_pointer = nullptr;
    void *fake_stack = nullptr;
    const void *bottom = nullptr;
    std::size_t bytes = 0;
    fibre *entering = nullptr;
#if !FIBRE_ASM
    ucontext_t context;
#endif
} scheduler;

// Stacks that wait for their next fibre. They are kept for the program's life: a launch needs as
// many as the last one did.
std::vector<char *> &spare_stacks()
{
    static std::vector<char *> spare;
    return spare;
}

char *take_stack()
{
    std::vector<char *> &spare = spare_stacks();
    if (!spare.empty()) {
        char *stack = spare.back();
        spare.pop_back();
#if FIBRE_ASAN
        // An abandoned fibre leaves the marks of its frames behind.
        __asan_unpoison_memory_region(stack, fibre_stack_bytes);
#endif
        return stack;
    }
    std::size_t guard = (std::size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(nullptr, fibre_stack_bytes + guard, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return nullptr;
    }
    if (mprotect(memory, guard, PROT_NONE) != 0) {
        munmap(memory, fibre_stack_bytes + guard);
        return nullptr;
    }
    return (char *)memory + guard;
}

void after_switch_into_fibre([[maybe_unused]] void *fake)
{
#if FIBRE_ASAN
    __sanitizer_finish_switch_fiber(fake, &scheduler.bottom, &scheduler.bytes);
#endif
}

void first_steps()
{
    after_switch_into_fibre(nullptr);
    fibre *self = scheduler.entering;
    self->entry(self->argument);
    fibre_leave(*self, true);
    __builtin_trap(); // a fibre that said `last` was entered again
}

} // namespace

bool fibre_start(fibre &f, void (*entry)(void *), void *argument)
{
    if (!f.stack) {
        f.stack = take_stack();
        if (!f.stack) {
            return false;
        }
    }
    f.fake_stack = nullptr;
    f.entry = entry;
    f.argument = argument;
#if FIBRE_ASM
    // From the top: a null return address (unwinders stop there), the address that the switch
    // returns to, then six zero registers. At entry the stack is 8 off 16, as after a call.
    void **top = (void **)(f.stack + fibre_stack_bytes);
    *--top = nullptr;
    *--top = (void *)&first_steps;
    for (int i = 0; i < 6; i++) {
        *--top = nullptr;
    }
    f.context = top;
#else
    ucontext_t *context = new ucontext_t;
    getcontext(context);
    context->uc_stack.ss_sp = f.stack;
    context->uc_stack.ss_size = fibre_stack_bytes;
    context->uc_link = nullptr;
    makecontext(context, first_steps, 0);
    f.context = context;
#endif
    return true;
}

void fibre_enter(fibre &f)
{
    scheduler.entering = &f;
#if FIBRE_ASAN
    __sanitizer_start_switch_fiber(&scheduler.fake_stack, f.stack, fibre_stack_bytes);
#endif
#if FIBRE_ASM
    fbq_simt_switch(&scheduler.stack_pointer, f.context);
#else
    swapcontext(&scheduler.context, (ucontext_t *)f.context);
#endif
#if FIBRE_ASAN
    __sanitizer_finish_switch_fiber(scheduler.fake_stack, nullptr, nullptr);
#endif
}

void fibre_leave(fibre &f, [[maybe_unused]] bool last)
{
#if FIBRE_ASAN
    __sanitizer_start_switch_fiber(last ? nullptr : &f.fake_stack, scheduler.bottom,
                                   scheduler.bytes);
#endif
#if FIBRE_ASM
    fbq_simt_switch(&f.context, scheduler.stack_pointer);
#else
    swapcontext((ucontext_t *)f.context, &scheduler.context);
#endif
    after_switch_into_fibre(f.fake_stack);
}

void fibre_drop(fibre &f)
{
#if !FIBRE_ASM
    delete (ucontext_t *)f.context;
#endif
    if (f.stack) {
        spare_stacks().push_back(f.stack);
    }
    f = fibre();
}

} // namespace simt
