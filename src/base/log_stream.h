#pragma once

namespace bellhop::log {

/// What is written to the file that is standard error, too, besides the log: whether its last line
/// has no end yet. In systemd's journal the log's next line then begins a new one, since a priority
/// is only read there. Any thread.
void set_line_open(bool open) noexcept;

}  // namespace bellhop::log
