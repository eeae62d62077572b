#include "transport/vhost_user/vhost_user_server.h"

#include <fmt/format.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/poll.h"
#include "base/thread.h"

namespace bellhop {

using vhost_user::Channel;

namespace {

/// Where the process has no descriptor for another client, or the like.
constexpr int kAcceptAgainMs = 100;

pollfd wait_for(int fd) noexcept { return {.fd = fd, .events = POLLIN, .revents = 0}; }

}  // namespace

Result<std::unique_ptr<VhostUserServer>> VhostUserServer::start(Setup setup) {
  std::unique_ptr<VhostUserServer> server(new VhostUserServer(std::move(setup)));
  auto end = EventFd::create();
  if (!end) return forward(end);
  server->end_ = std::move(*end);
  auto thread =
      start_thread(ThreadKind::kVhostUser, fmt::format("vhost-user {}", server->device().id()),
                   [self = server.get()] { self->run(); });
  if (!thread) return forward(thread);
  server->thread_ = std::move(*thread);
  return server;
}

VhostUserServer::~VhostUserServer() { stop(); }

void VhostUserServer::stop() {
  if (!thread_.joinable()) return;
  ask_to_stop();
  thread_.join();
}

void VhostUserServer::run() {
  std::array fds{wait_for(setup_.listener.fd()), wait_for(end_.get())};
  while (true) {
    wait_ready(fds, -1);
    if (fds[1].revents != 0) return;
    if (fds[0].revents == 0) continue;
    UniqueFd socket = setup_.listener.accept();
    if (!socket.valid()) {
      if (errno != EAGAIN) wait_ready(std::span(fds).last(1), kAcceptAgainMs);
      if (fds[1].revents != 0) return;
      continue;
    }
    connections_.add();
    const bool goes_on = serve(std::move(socket));
    setup_.device->disconnected();
    if (!goes_on) return;
  }
}

bool VhostUserServer::serve(UniqueFd socket) {
  VhostUserDevice& device = *setup_.device;
  log_.info("{}: a front end has connected", device.id());
  std::vector fds{wait_for(socket.get()), wait_for(end_.get()),
                  wait_for(device.memory_lost().get()), wait_for(device.news().get())};
  const std::size_t own = fds.size();
  Channel channel(std::move(socket), setup_.patience);
  while (true) {
    wait_ready(fds, -1);
    if (fds[1].revents != 0) return false;
    if (fds[2].revents != 0) {
      log_.error("{}: the front end has taken memory away under its device: the connection ends",
                 device.id());
      return true;
    }
    if (fds[3].revents != 0) device.look_at_news();
    if (fds.size() > own) device.look_at_watched();
    Status handled;
    if (fds[0].revents != 0) {
      auto message = channel.receive();
      handled = message ? device.handle(*message, channel) : Status(forward(message));
    }
    fds.resize(own);
    device.add_watched(fds);
    if (handled) continue;
    if (handled.error().code == ECONNRESET) {
      log_.info("{}: the front end has gone", device.id());
    } else {
      log_.warn("{}: the connection ends: {}", device.id(), handled.error().message);
    }
    return true;
  }
}

}  // namespace bellhop
