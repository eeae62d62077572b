#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bus/io_event_match.h"
#include "virtio/queue/server.h"

namespace bellhop {

/// What transports need of the host to turn doorbells and interrupts into eventfds. The machine
/// implements it over its hypervisor. Control path; any thread, several at once; must not call back
/// into a transport.
class HostBinder {
 public:
  /// Has writes that match signal `doorbell`, of a queue that `server` serves: if that is not the
  /// device, the queue cannot do without, and may have what is kept for such. Errors: the host has
  /// no room for another, or does not know such a match.
  virtual Status attach_doorbell(const EventFd& doorbell, const IoEventMatch& match,
                                 Server server) = 0;
  virtual void detach_doorbell(const EventFd& doorbell, const IoEventMatch& match) noexcept = 0;

  /// A GSI number that stands for one message-signalled interrupt. Errors: the host's table is
  /// full.
  virtual Result<unsigned> allocate_msi() = 0;
  /// Errors: a message that the host cannot deliver.
  virtual Status set_msi(unsigned gsi, std::uint64_t address, std::uint32_t data) = 0;
  virtual void free_msi(unsigned gsi) noexcept = 0;

  /// Has signals of `event` raise `gsi`: an allocated MSI whose message is set, or a pin of the
  /// interrupt controller, edge-triggered. Give it an event that holds nothing: hosts differ in
  /// what they make of signals from before.
  virtual Status attach_interrupt(const EventFd& event, unsigned gsi) = 0;
  /// After it, signals stay in the event's counter.
  virtual void detach_interrupt(const EventFd& event, unsigned gsi) noexcept = 0;

 protected:
  ~HostBinder() = default;
};

}  // namespace bellhop
