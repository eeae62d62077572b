#include "event/ring_limits.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

namespace bellhop {

namespace {

/// A ring of the kind that disks have.
class RingLimitsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::io_uring_queue_init(8, &ring_, IORING_SETUP_R_DISABLED) != 0) {
      GTEST_SKIP() << "the kernel forbids io_uring";
    }
    open_ = true;
    const auto limited = limit_ring(ring_);
    ASSERT_TRUE(limited) << limited.error().message;
    ASSERT_EQ(::io_uring_enable_rings(&ring_), 0);
  }
  void TearDown() override {
    if (open_) ::io_uring_queue_exit(&ring_);
  }

  /// What the kernel answers to one request.
  int ask(const std::function<void(::io_uring_sqe*)>& prepare) {
    ::io_uring_sqe* const sqe = ::io_uring_get_sqe(&ring_);
    prepare(sqe);
    const int submitted = ::io_uring_submit(&ring_);
    if (submitted < 0) return submitted;
    ::io_uring_cqe* cqe = nullptr;
    if (const int error = ::io_uring_wait_cqe(&ring_, &cqe); error != 0) return error;
    const int result = cqe->res;
    ::io_uring_cqe_seen(&ring_, cqe);
    return result;
  }

  ::io_uring ring_{};
  bool open_ = false;
};

TEST_F(RingLimitsTest, NeitherFilesNorSocketsAreOpenedThroughIt) {
  EXPECT_EQ(ask([](auto* sqe) { ::io_uring_prep_openat(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0); }),
            -EACCES);
  EXPECT_EQ(ask([](auto* sqe) { ::io_uring_prep_socket(sqe, AF_UNIX, SOCK_STREAM, 0, 0); }),
            -EACCES);
  EXPECT_EQ(ask([](auto* sqe) { ::io_uring_prep_connect(sqe, 0, nullptr, 0); }), -EACCES);
  EXPECT_EQ(ask([](auto* sqe) { ::io_uring_prep_unlinkat(sqe, AT_FDCWD, "/nothing", 0); }),
            -EACCES);
  EXPECT_EQ(ask([](auto* sqe) { ::io_uring_prep_sendmsg(sqe, 0, nullptr, 0); }), -EACCES);
}

TEST_F(RingLimitsTest, RequestsOfDisksAreServed) {
  const int file = ::open("/dev/zero", O_RDWR | O_CLOEXEC);
  ASSERT_GE(file, 0);
  char bytes[16];
  EXPECT_EQ(ask([&](auto* sqe) { ::io_uring_prep_read(sqe, file, bytes, sizeof bytes, 0); }), 16);
  EXPECT_EQ(ask([&](auto* sqe) { ::io_uring_prep_write(sqe, file, bytes, sizeof bytes, 0); }), 16);
  ::close(file);
}

TEST_F(RingLimitsTest, NoOtherRegistrationIsTaken) {
  EXPECT_EQ(::io_uring_unregister_files(&ring_), -EACCES);
  EXPECT_EQ(::io_uring_register_eventfd(&ring_, 0), -EACCES);
}

}  // namespace

}  // namespace bellhop
