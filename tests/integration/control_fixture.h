#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "control/api/api_client.h"
#include "testing/eventually.h"
#include "tests/integration/cli_fixture.h"

#ifdef BELLHOP_BENCH_GUEST

namespace bellhop {

/// Somebody at a pseudo terminal. What it has read of it once that ends with `end`.
class AtTerminal {
 public:
  explicit AtTerminal(const std::string& place)
      : fd_(::open(place.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) {
    EXPECT_TRUE(fd_.valid()) << place;
  }
  [[nodiscard]] bool reads(const std::string& text) {
    return testing::eventually([&] {
      std::array<char, 4096> piece{};
      const ssize_t got = ::read(fd_.get(), piece.data(), piece.size());
      if (got > 0) seen_.append(piece.data(), static_cast<std::size_t>(got));
      return seen_.find(text) != std::string::npos;
    });
  }
  void type(const std::string& text) const {
    EXPECT_EQ(::write(fd_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

 private:
  UniqueFd fd_;
  std::string seen_;
};

/// A machine with an API socket, and its clients.
class ControlTest : public CliMachineTest {
 protected:
  void TearDown() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)finish(pid_);
  }
  void run(const std::string& cmdline, const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"run",      "--kernel",     BELLHOP_BENCH_GUEST,
                                      "--memory", "64M",          "--cmdline",
                                      cmdline,    "--api-socket", socket_};
    words.insert(words.end(), options.begin(), options.end());
    std::filesystem::remove(folder_ / "out");
    pid_ = start(words);
    ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping").status == 200; }));
  }
  void run_until_ready(const std::string& cmdline, const std::vector<std::string>& options = {}) {
    run(cmdline, options);
    ASSERT_TRUE(printed("\"event\":\"begin\""));
  }
  bool printed(const std::string& text) { return says("out", text); }
  control::HttpResponse ask(std::string_view method, std::string_view name,
                            std::string_view body = {}) {
    auto response = control::ask_api(socket_, method, name, body, testing::kPatience);
    if (response) return *response;
    return {.status = 0, .body = response.error().message};
  }
  unsigned put(std::string_view name, std::string_view body = {}) {
    return ask("PUT", name, body).status;
  }
  nlohmann::json info() { return nlohmann::json::parse(ask("GET", "vm.info").body); }
  Outcome end() {
    Outcome outcome = finish(pid_);
    pid_ = 0;
    return outcome;
  }
  /// The program has so many of what its folder in /proc lists.
  [[nodiscard]] std::size_t count(const char* what) const {
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/" + what), {}));
  }
  /// The same once no client's connection is on its way out any more.
  [[nodiscard]] std::size_t settled(const char* what) const {
    std::size_t least = count(what);
    for (int i = 0; i < 50; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(4));
      least = std::min(least, count(what));
    }
    return least;
  }
  /// What `bellhop ctl` prints; the machine's own output stays where it is.
  std::string ctl(const std::vector<std::string>& words, int status = 0) {
    std::string line = "ctl '" + socket_ + "'";
    for (const std::string& word : words) line += " '" + word + "'";
    return told(line, status);
  }
  /// What the program prints with these arguments.
  std::string told(const std::string& arguments, int status = 0) {
    const std::string shown = (folder_ / "told").string();
    const std::string line =
        std::string(BELLHOP_EXECUTABLE) + " " + arguments + " > '" + shown + "' 2>&1";
    const int got = std::system(line.c_str());  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
    EXPECT_EQ(WIFEXITED(got) ? WEXITSTATUS(got) : -1, status) << line;
    return contents(shown);
  }

  std::string socket_ = (folder_ / "api.sock").string();
  pid_t pid_ = 0;
};

}  // namespace bellhop

#endif
