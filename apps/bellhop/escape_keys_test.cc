#include "apps/bellhop/escape_keys.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace bellhop {
namespace {

using Order = EscapeKeys::Order;

struct Typed {
  Order order;
  std::string for_guest;
  std::size_t taken;
};

Typed type(EscapeKeys& keys, std::string_view text) {
  std::vector<std::byte> out;
  std::size_t taken = 0;
  const Order order = keys.take(std::as_bytes(std::span(text)), taken, out);
  return {order, {reinterpret_cast<const char*>(out.data()), out.size()}, taken};
}

TEST(EscapeKeysTest, OrdinaryKeysAreTheGuests) {
  EscapeKeys keys;
  const Typed typed = type(keys, "root\r\x03xph");
  EXPECT_EQ(typed.order, Order::kNone);
  EXPECT_EQ(typed.for_guest, "root\r\x03xph");
  EXPECT_EQ(typed.taken, 9U);
}

TEST(EscapeKeysTest, OrdersEndWhatIsTaken) {
  EscapeKeys keys;
  const Typed typed = type(keys, "ab\x01hcd");
  EXPECT_EQ(typed.order, Order::kHelp);
  EXPECT_EQ(typed.for_guest, "ab");
  EXPECT_EQ(typed.taken, 4U);
  EXPECT_EQ(type(keys, "\x01x").order, Order::kQuit);
  EXPECT_EQ(type(keys, "\x01P").order, Order::kPowerButton);
}

TEST(EscapeKeysTest, AnOrderMayComeInTwoParts) {
  EscapeKeys keys;
  EXPECT_EQ(type(keys, "\x01").order, Order::kNone);
  EXPECT_EQ(type(keys, "x").order, Order::kQuit);
  EXPECT_EQ(type(keys, "x").for_guest, "x");
}

TEST(EscapeKeysTest, CtrlATwiceIsOneAndUnknownLettersPass) {
  EscapeKeys keys;
  EXPECT_EQ(type(keys, "\x01\x01").for_guest, "\x01");
  EXPECT_EQ(type(keys, "\x01q").for_guest, "\x01q");
}

}  // namespace
}  // namespace bellhop
