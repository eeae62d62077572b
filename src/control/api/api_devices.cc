#include "control/api/api_devices.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "config/machine_options.h"

namespace bellhop::control {

namespace {

/// Fields of a body on their way to the keys of an option.
class Keys {
 public:
  Keys(Body& body, std::string_view kind) : body_(body) { command_.kind = kind; }

  void text(const char* field, std::string key) { put(std::move(key), body_.text(field)); }
  void needed_text(const char* field, std::string key) {
    put(std::move(key), body_.needed(field, body_.text(field)));
  }
  void number(const char* field, std::string key) {
    if (const auto value = body_.number(field)) put(std::move(key), std::to_string(*value));
  }
  void needed_number(const char* field, std::string key) {
    put(std::move(key), std::to_string(body_.needed(field, body_.number(field))));
  }
  void put(std::string key, std::optional<std::string> value) {
    if (value) command_.properties.set({std::move(key), std::move(value)});
  }
  /// Whether another process serves the device.
  bool back_end() {
    if (body_.flag("vhost_user") != true) return false;
    needed_text("vhost_socket", "vhost-user");
    return true;
  }
  /// Token buckets of `size` that fill up in `refill_time` milliseconds.
  void rates(Body& limits, const char* unit) {
    std::uint64_t longest = 0;
    const auto bucket = [&](const char* field, const char* key) {
      limits.object(field, [&](Body& one) {
        constexpr std::uint64_t kMost = std::uint64_t{1} << 50;
        const std::uint64_t size = one.needed("size", one.number("size"));
        const std::uint64_t time = one.needed("refill_time", one.number("refill_time"));
        (void)one.number("one_time_burst");
        if (!one.ok()) return;
        if (size == 0 || size > kMost || time == 0 || time > 3'600'000) {
          return one.refuse(
              "size and refill_time must be 1 or more, and refill_time 3600000 at most");
        }
        put(key, std::to_string(std::max<std::uint64_t>(size * 1000 / time, 1)));
        longest = std::max(longest, time);
      });
    };
    bucket("bandwidth", "bps");
    bucket("ops", unit);
    if (longest != 0) put("burst", fmt::format("{}ms", longest));
  }
  /// Fields that would change what the device does, if they are true.
  void refuse_if_on(std::initializer_list<const char*> fields) {
    for (const char* const field : fields) {
      if (body_.flag(field) == true) body_.refuse(fmt::format("{} is not supported", field));
    }
  }
  Command command() && { return std::move(command_); }

 private:
  Body& body_;
  AddDevice command_;
};

}  // namespace

Command read_add_disk(Body& body) {
  Keys keys(body, "disk");
  if (!keys.back_end()) keys.needed_text("path", "path");
  keys.text("id", "id");
  if (body.flag("readonly") == true) keys.put("readonly", "on");
  if (body.flag("direct") == true) keys.put("cache", "none");
  keys.number("num_queues", "queues");
  keys.number("queue_size", "queue-size");
  const auto type = body.text("image_type");
  if (type == "Raw") keys.put("format", "raw");
  if (type && type != "Raw" && type != "Unknown") {
    body.refuse("image_type must be Raw: disks of other formats are not supported");
  }
  body.object("rate_limiter_config", [&keys](Body& limits) { keys.rates(limits, "iops"); });
  keys.text("rate_limit_group", "rate-limit-group");
  keys.refuse_if_on({"iommu"});
  return std::move(keys).command();
}

Command read_add_net(Body& body) {
  Keys keys(body, "net");
  if (!keys.back_end()) keys.text("tap", "tap");  // or descriptors beside the request
  keys.text("id", "id");
  keys.text("mac", "mac");
  keys.number("mtu", "mtu");
  keys.number("queue_size", "queue-size");
  if (const auto queues = body.number("num_queues")) {
    if (*queues < 2 || *queues % 2 != 0) body.refuse("num_queues must be 2 for each pair");
    keys.put("queues", std::to_string(*queues / 2));
  }
  body.object("rate_limiter_config", [&keys](Body& limits) { keys.rates(limits, "pps"); });
  keys.text("rate_limit_group", "rate-limit-group");
  keys.refuse_if_on({"iommu"});
  return std::move(keys).command();
}

Command read_add_fs(Body& body) {
  Keys keys(body, "fs");
  keys.needed_text("tag", "tag");
  keys.needed_text("socket", "socket");
  keys.text("id", "id");
  keys.number("num_queues", "num-queues");
  keys.number("queue_size", "queue-size");
  return std::move(keys).command();
}

Command read_add_vsock(Body& body) {
  Keys keys(body, "vsock");
  keys.needed_number("cid", "cid");
  keys.needed_text("socket", "uds");
  keys.text("id", "id");
  keys.refuse_if_on({"iommu"});
  return std::move(keys).command();
}

Command read_rate_group(Body& body) {
  Keys keys(body, "rate-limit-group");
  keys.needed_text("id", "id");
  body.object("rate_limiter_config", [&keys](Body& limits) { keys.rates(limits, "iops"); });
  return std::move(keys).command();
}

Command read_add(Body& body) {
  AddDevice command{.kind = body.needed("device", body.text("device")), .properties = {}};
  const std::string options = body.text("options").value_or("");
  const auto kind = std::ranges::find_if(device_kinds(), [&command](const DeviceKind& one) {
    return one.option.name == command.kind;
  });
  if (options.empty() || kind == device_kinds().end()) return command;
  auto properties = PropertyList::parse(options, kind->option.bare_key);
  if (!properties) {
    body.refuse(fmt::format("--{}: {}", command.kind, properties.error().message));
  } else {
    command.properties = std::move(*properties);
  }
  return command;
}

Command read_remove_device(Body& body) {
  return RemoveDevice{.id = body.needed("id", body.text("id"))};
}

}  // namespace bellhop::control
