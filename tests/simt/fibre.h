// tests/simt/fibre.h: a thread of control with a stack of its own that gives way only when it says
// so. One scheduler enters fibres; a fibre leaves back to the scheduler.
//
// x86-64 has a hand-written switch (a CUDA block is hundreds of fibres that switch at every
// collective); elsewhere ucontext does it. AddressSanitizer is told about each switch.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_FIBRE_H
#define FBQ_SIMT_FIBRE_H

#include <cstddef>

namespace simt
{

// Usable stack of a fibre. Kernels keep their arrays in registers on a GPU, so this is ample even
// with a sanitizer's padding; a guard page below turns an overflow into a fault.
constexpr std::size_t fibre_stack_bytes = 192 * 1024;

struct fibre {
    void *context = nullptr; // saved stack pointer, or a ucontext_t
    char *stack = nullptr;   // lowest usable byte
    void *fake_stack = nullptr;
    void (*entry)(void *) = nullptr;
    void *argument = nullptr;
};

// Give a fibre a stack and a start. False when there is no memory for a stack.
bool fibre_start(fibre &f, void (*entry)(void *), void *argument);

// Run a fibre until it leaves. Only the scheduler may call this.
void fibre_enter(fibre &f);

// Back to the scheduler. `last` says that this fibre will never be entered again.
void fibre_leave(fibre &f, bool last);

// Hand the stack back; legal at any time while the fibre is not running, finished or not.
void fibre_drop(fibre &f);

} // namespace simt

#endif
