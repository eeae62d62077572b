// Two virtual machines that never run, held until killed: one whose vCPU has a local APIC that is
// off, one whose vCPU has none. KVM patches the running kernel's code when the first VM of a host
// comes and the last one goes, and with the first and last vCPU of either kind; while these are
// there, it does not. QEMU before 8.1, emulating more than one processor, now and then goes on with
// its translation of what has been patched: the outer machine then stands still for good.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <initializer_list>

int main() {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  for (const bool apic : {true, false}) {
    const int machine = ioctl(kvm, KVM_CREATE_VM, 0);
    if (machine < 0 || (apic && ioctl(machine, KVM_CREATE_IRQCHIP) < 0) ||
        ioctl(machine, KVM_CREATE_VCPU, 0) < 0) {
      std::perror("hold-kvm");
      return 1;
    }
  }
  for (;;) pause();
}
