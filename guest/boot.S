// Boot of the bench guest, and everything of it that runs at CPL 0.
//
// PVH (32 bit, paging off) -> long mode -> CPL 3 with interrupts on, within a few dozen
// instructions: on hosts that interpret kernel mode every one of them costs, and whatever can be
// done at CPL 3 (filling the IDT, programming the LAPIC, PCI) is done there. All pages are
// user-accessible for that reason, and all ports by the I/O bitmap of the TSS (hosts that run CPL 3
// natively but interpret CPL 0 do not keep IOPL through IRETQ). Application processors come in through the trampoline at the
// end and share the path from `to_long_mode` on.

#define KERNEL_CODE32 0x08
#define KERNEL_CODE64 0x10
#define KERNEL_DATA   0x18
#define USER_DATA     0x23
#define USER_CODE     0x2b
#define FIRST_TSS     0x30
#define MAX_CPUS      16
#define KERNEL_STACK  1024
#define TRAMPOLINE    0x8000
#define IO_PORTS      0x10000

// ---- PVH note -------------------------------------------------------------------------------
  .section .note.pvh, "a", @note
  .balign 4
  .long 4, 8, 18            // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .quad pvh_entry

// ---- entry ----------------------------------------------------------------------------------
  .section .text.boot, "ax"
  .code32
  .globl pvh_entry
pvh_entry:
  cli
  cld
  movl %ebx, start_info_address
  movb $0xff, %al            // firmware may have left the PIC running
  outb %al, $0x21
  outb %al, $0xa1
  lgdt gdt_pointer
  ljmp $KERNEL_CODE32, $1f
1: xorl %ebp, %ebp           // ebp: index of this vCPU

to_long_mode:
  movl $KERNEL_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $page_map, %eax
  movl %eax, %cr3
  movl $0x620, %eax          // PAE, OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  movl $0xc0000080, %ecx     // EFER.LME
  xorl %edx, %edx
  movl $0x100, %eax
  wrmsr
  movl $0x80000033, %eax     // PG, NE, ET, MP, PE
  movl %eax, %cr0
  ljmp $KERNEL_CODE64, $long_mode

  .code64
long_mode:
  lidt idt_pointer
  // The TSS descriptor of this vCPU: its base is scattered over the descriptor.
  movl %ebp, %ebx
  shll $4, %ebx
  movl %ebp, %eax
  shll $7, %eax
  addl $task_states, %eax
  movw %ax, gdt_task_states+2(%rbx)
  shrl $16, %eax
  movb %al, gdt_task_states+4(%rbx)
  movb %ah, gdt_task_states+7(%rbx)
  addl $FIRST_TSS, %ebx
  ltr %bx
  testl %ebp, %ebp
  jnz application_processor

  // What only CPL 0 sees truly of CPUID, kept for clock.cc.
  xorl %eax, %eax
  cpuid
  movl %eax, cpuid_max_leaf
  movl $0x15, %eax
  xorl %ecx, %ecx
  cpuid
  movl %eax, cpuid_15
  movl %ebx, cpuid_15+4
  movl %ecx, cpuid_15+8
  movl $0x40000010, %eax
  cpuid
  movl %eax, cpuid_hypervisor_tsc_khz
  movl $0x40000000, %eax
  cpuid
  movl %eax, cpuid_hypervisor_max_leaf
  movl %ebx, cpuid_hypervisor_signature
  cmpl $0x4b4d564b, %ebx     // "KVMK"
  jne 1f
  movl $0x40000001, %eax
  cpuid
  testl $8, %eax             // KVM_FEATURE_CLOCKSOURCE2
  jz 1f
  movl $kvm_clock+1, %eax
  xorl %edx, %edx
  movl $0x4b564d01, %ecx     // MSR_KVM_SYSTEM_TIME_NEW
  wrmsr
1:
  movq $boot_stack_top, %rdx
  movq $bsp_main, %rcx
  jmp to_user_mode

application_processor:
  movq user_stack_tops(,%rbp,8), %rdx
  movq $ap_main, %rcx

// rdx: stack, rcx: entry, ebp: index of the vCPU, handed over as the first argument.
to_user_mode:
  movl task_states_stack_top(%rip), %esp
  movl %ebp, %eax
  shll $10, %eax
  addq %rax, %rsp
  xorl %eax, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %ebp, %edi
  subq $8, %rdx              // as if called: the ABI's stack alignment
  pushq $USER_DATA
  pushq %rdx
  pushq $0x202               // IF
  pushq $USER_CODE
  pushq %rcx
  iretq

// ---- waiting --------------------------------------------------------------------------------
  .text
// void wait_for_interrupt(const volatile uint32_t* counter, uint32_t seen)
// Halts unless *counter has left `seen`; any interrupt ends the halt. HLT at CPL 3 raises #GP,
// whose handler looks at the counter with interrupts off: no wake-up can fall between.
  .globl wait_for_interrupt
wait_for_interrupt:
  movl %esi, %eax
halt_instruction:
  hlt
  ret

general_protection:
  addq $8, %rsp              // the error code
  cmpq $halt_instruction, (%rsp)
  jne general_protection_real
  incq (%rsp)
  cmpl %eax, (%rdi)
  jne 1f
  sti
  hlt
1: iretq

general_protection_real:
  pushq -8(%rsp)
  pushq $13
  jmp exception

// ---- exceptions: leave a note and go to the panic function at CPL 3 --------------------------
exception:
  incl exception_count       // the panic function itself failed: nothing more can be said
  cmpl $1, exception_count
  jne stop
  popq fault_record          // vector
  popq fault_record+8        // error code
  popq fault_record+16       // rip
  popq fault_record+24       // cs
  movq %cr2, %rax
  movq %rax, fault_record+32
  movq 8(%rsp), %rax
  movq %rax, fault_record+40 // rsp
  pushq $USER_DATA
  pushq $boot_stack_top-8
  pushq $2
  pushq $USER_CODE
  pushq $panic_main
  iretq

stop:
  hlt
  jmp stop

  .set vector, 0
  .rept 32
  .balign 16
  .if vector == 0
exception_stubs:
  .endif
  .if vector == 13
  jmp general_protection
  .else
  .if !(vector == 8 || vector == 10 || vector == 11 || vector == 12 || vector == 14 || \
        vector == 17 || vector == 21 || vector == 29 || vector == 30)
  pushq $0
  .endif
  pushq $vector
  jmp exception
  .endif
  .set vector, vector + 1
  .endr
  .balign 16

// ---- interrupts: count, EOI, return ----------------------------------------------------------
// movl $0, 0xfee000b0 with a 32-bit address: one instruction, no register. xAPIC EOI.
  .macro END_OF_INTERRUPT
  .byte 0x67, 0xc7, 0x04, 0x25
  .long 0xfee000b0, 0
  .endm

// One stub for each counter of `interrupt_counts` (64 bytes apart), 32 bytes a stub.
  .globl interrupt_stubs
  .balign 32
  .set line, 0
  .rept 32
  .balign 32
  .if line == 0
interrupt_stubs:
  .endif
  incl interrupt_counts + 64 * line
  END_OF_INTERRUPT
  iretq
  .set line, line + 1
  .endr

  .globl tick_stub, spurious_stub
  .balign 16
tick_stub:
  END_OF_INTERRUPT
spurious_stub:
  iretq

  .globl exception_stubs_address
  .section .rodata
exception_stubs_address:
  .quad exception_stubs

// ---- application processors ------------------------------------------------------------------
  .globl ap_trampoline, ap_trampoline_end
  .balign 8
  .code16
ap_trampoline:
  cli
  xorw %ax, %ax
  movw %ax, %ds
  lgdtl ap_gdt_pointer - ap_trampoline + TRAMPOLINE
  movl $0x11, %eax
  movl %eax, %cr0
  ljmpl $KERNEL_CODE32, $ap_protected
  .balign 4
ap_gdt_pointer:
  .word gdt_end - gdt - 1
  .long gdt
ap_trampoline_end:

  .section .text.boot, "ax"
  .code32
ap_protected:
  movl $KERNEL_DATA, %eax
  movl %eax, %ds
  movl 0xfee00020, %ebp      // LAPIC id
  shrl $24, %ebp
  andl $MAX_CPUS - 1, %ebp
  jmp to_long_mode
  .code64

// ---- tables ----------------------------------------------------------------------------------
  .data
  .balign 4096
  .globl page_map
page_map:
  .quad page_directory_pointers + 0x67
  .fill 511, 8, 0
  .globl page_directory_pointers
page_directory_pointers:
  .set i, 0
  .rept 4
  .quad page_directories + i * 4096 + 0x67
  .set i, i + 1
  .endr
  .fill 508, 8, 0
page_directories:            // identity, 2 MiB pages, the first 4 GiB, user-accessible
  .set i, 0
  .rept 2048
  .quad i * 0x200000 + 0xe7
  .set i, i + 1
  .endr

  .balign 16
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff   // 32-bit code
  .quad 0x00af9b000000ffff   // 64-bit code
  .quad 0x00cf93000000ffff   // data
  .quad 0x00cff3000000ffff   // user data
  .quad 0x00affb000000ffff   // user code
gdt_task_states:
  .rept MAX_CPUS
  .quad 0x0000890000000000 + MAX_CPUS * 128 + IO_PORTS / 8
  .quad 0
  .endr
gdt_end:
  .balign 4
  .word 0
gdt_pointer:
  .word gdt_end - gdt - 1
  .quad gdt
  .balign 4
  .word 0
idt_pointer:
  .word 4095
  .quad interrupt_table

  .balign 128
task_states:
  .set i, 0
  .rept MAX_CPUS
  .long 0
  .quad kernel_stacks + (i + 1) * KERNEL_STACK   // RSP0
  .fill 90, 1, 0
  .word io_bitmap - task_states - i * 128
  .balign 128
  .set i, i + 1
  .endr
io_bitmap:                   // one for all: all ports are allowed
  .fill IO_PORTS / 8 + MAX_CPUS * 128, 1, 0
  .byte 0xff
  .balign 4
task_states_stack_top:
  .long kernel_stacks + KERNEL_STACK

  .bss
  .balign 4096
  .globl interrupt_table
interrupt_table:
  .skip 4096
  .globl interrupt_counts
interrupt_counts:
  .skip 64 * 32
kernel_stacks:
  .skip MAX_CPUS * KERNEL_STACK
boot_stack:
  .skip 16384
boot_stack_top:
  .balign 64
  .globl kvm_clock
kvm_clock:
  .skip 64
  .globl start_info_address, fault_record, user_stack_tops
fault_record:
  .skip 48
exception_count:
  .skip 8
user_stack_tops:
  .skip 8 * MAX_CPUS
start_info_address:
  .skip 8
  .globl cpuid_max_leaf, cpuid_15, cpuid_hypervisor_tsc_khz, cpuid_hypervisor_max_leaf
  .globl cpuid_hypervisor_signature
cpuid_max_leaf:
  .skip 4
cpuid_15:
  .skip 12
cpuid_hypervisor_tsc_khz:
  .skip 4
cpuid_hypervisor_max_leaf:
  .skip 4
cpuid_hypervisor_signature:
  .skip 4

  .section .note.GNU-stack, "", @progbits
