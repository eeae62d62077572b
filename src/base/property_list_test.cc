#include "base/property_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace bellhop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PropertyList parsed(std::string_view text, std::string_view bare_key = {}) {
  auto list = PropertyList::parse(text, bare_key);
  EXPECT_TRUE(list.has_value()) << text;
  return list.value_or(PropertyList{});
}

TEST(PropertyList, TakesKeysWithAndWithoutValues) {
  EXPECT_THAT(parsed("path=a.img,readonly,id=").items(),
              ElementsAre(Property{"path", "a.img"}, Property{"readonly", std::nullopt},
                          Property{"id", ""}));
}

TEST(PropertyList, FirstBareItemIsTheValueOfTheBareKey) {
  EXPECT_THAT(parsed("512M,hugepages", "size").items(),
              ElementsAre(Property{"size", "512M"}, Property{"hugepages", std::nullopt}));
}

TEST(PropertyList, TheBareKeyGivenAsWellMakesTheFirstItemAFlag) {
  EXPECT_THAT(parsed("readonly,path=a.img,queues=2", "path").items(),
              ElementsAre(Property{"readonly", std::nullopt}, Property{"path", "a.img"},
                          Property{"queues", "2"}));
  EXPECT_FALSE(PropertyList::parse("a.img,path=b,path=c", "path"));
  EXPECT_FALSE(PropertyList::parse("path=b,path=c", "path"));
}

TEST(PropertyList, DoubledCommaIsPartOfTheValue) {
  EXPECT_THAT(parsed("path=a,,b,,,id=x").items(),
              ElementsAre(Property{"path", "a,b,"}, Property{"id", "x"}));
}

TEST(PropertyList, ValueMayHoldEqualsSigns) {
  EXPECT_THAT(parsed("path=a=b").items(), ElementsAre(Property{"path", "a=b"}));
}

TEST(PropertyList, CpuListGoesOnPastSingleCommas) {
  EXPECT_THAT(
      parsed("io0,cpus=0,2-5,7,loop=epoll", "name").items(),
      ElementsAre(Property{"name", "io0"}, Property{"cpus", "0,2-5,7"}, Property{"loop", "epoll"}));
  EXPECT_THAT(parsed("0=0,2,1=1").items(), ElementsAre(Property{"0", "0,2"}, Property{"1", "1"}));
}

TEST(PropertyList, RefusesWhatHasNoMeaning) {
  for (const std::string_view text : {"", ",", "a=1,", ",a=1", "=1", "a=1,=2", "a=1,a=2", "a,a"}) {
    EXPECT_FALSE(PropertyList::parse(text).has_value()) << text;
  }
}

TEST(PropertyList, LaterValuesWinWhenMerged) {
  PropertyList list = parsed("a=1,b=2");
  list.merge(parsed("b=3,c=4"));
  EXPECT_THAT(list.items(),
              ElementsAre(Property{"a", "1"}, Property{"b", "3"}, Property{"c", "4"}));
}

std::string fault_of(std::string_view text, void (*read)(PropertyReader&)) {
  const PropertyList list = parsed(text);
  PropertyReader reader("--thing", list);
  read(reader);
  const auto status = reader.finish();
  return status ? "" : status.error().message;
}

void read_some(PropertyReader& reader) {
  unsigned number = 0;
  bool flag = false;
  std::uint64_t size = 0;
  int choice = 0;
  reader.number("number", number, 1, 9);
  reader.flag("flag", flag);
  reader.size("size", size, 4096, 1 << 20);
  reader.choice<int>("choice", choice, {{"one", 1}, {"two", 2}});
}

TEST(PropertyReader, AsksForTheUnitThatASizeLacks) {
  const auto read = [](PropertyReader& reader) {
    std::uint64_t size = 0;
    reader.size("size", size, 16 << 20, std::uint64_t{1} << 40);
  };
  EXPECT_THAT(fault_of("size=256", read), ::testing::EndsWith(": 256M?"));
  for (const char* other : {"size=15", "size=2000000", "size=8K", "size=0"}) {
    EXPECT_THAT(fault_of(other, read), ::testing::EndsWith("such as 4K, 512M or 2G")) << other;
  }
}

TEST(PropertyReader, NamesTheKeyThatWasMeant) {
  EXPECT_THAT(fault_of("nunber=3", read_some), HasSubstr("unknown key 'nunber': number?; known"));
  EXPECT_THAT(fault_of("colour=3", read_some), HasSubstr("unknown key 'colour'; known are"));
}

TEST(PropertyReader, NamesOptionKeyAndWhatWouldBeRight) {
  EXPECT_EQ(fault_of("number=3,flag,size=8K,choice=two", read_some), "");
  EXPECT_EQ(fault_of("number=10", read_some),
            "--thing: number=10 is wrong; it must be a number from 1 to 9");
  EXPECT_EQ(fault_of("number", read_some), "--thing: number needs a value: number=...");
  EXPECT_EQ(fault_of("choice=", read_some), "--thing: choice needs a value: choice=...");
  EXPECT_EQ(fault_of("choice=three", read_some),
            "--thing: choice=three is wrong; it must be one of one, two");
  EXPECT_EQ(fault_of("flag=yes", read_some), "--thing: flag=yes is wrong; it must be on or off");
  EXPECT_THAT(fault_of("size=2G", read_some), HasSubstr("a size from 4K to 1M"));
  EXPECT_EQ(fault_of("nmber=1", read_some),
            "--thing: unknown key 'nmber': number?; known are number, flag, size, choice");
}

TEST(PropertyReader, DurationsHaveABound) {
  using std::chrono::milliseconds;
  const auto read = [](const char* text, std::chrono::nanoseconds& out) {
    const auto list = PropertyList::parse(text);
    PropertyReader reader("--thing", *list);
    reader.duration("poll", out, milliseconds(10));
    return reader.finish();
  };
  std::chrono::nanoseconds value{};
  EXPECT_TRUE(read("poll=10ms", value));
  EXPECT_EQ(value, milliseconds(10));
  const auto refused = read("poll=10000001ns", value);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("10000 us"), std::string::npos);
  EXPECT_EQ(value, milliseconds(10)) << "left as it was";
}

TEST(ParseCount, WantsAWholeNumberWithinBounds) {
  EXPECT_EQ(parse_count("--cpus", "4", 1, 64).value_or(0), 4U);
  for (const std::string_view text : {"", "0", "65", "-1", "+1", "1x", " 1", "99999999999"}) {
    const auto count = parse_count("--cpus", text, 1, 64);
    ASSERT_FALSE(count.has_value()) << text;
    EXPECT_THAT(count.error().message, HasSubstr("--cpus: "));
  }
}

TEST(PropertyListTest, TextIsReadAgainAsItWas) {
  for (const char* text :
       {"path=a,,b.img,readonly,cpus=0,2-3,id=x", "hostfwd=tcp::1-:2,hostfwd=udp::3-:4", "size="}) {
    const auto list = PropertyList::parse(text);
    ASSERT_TRUE(list) << text;
    const auto again = PropertyList::parse(list->text());
    ASSERT_TRUE(again) << list->text();
    EXPECT_EQ(again->items(), list->items()) << list->text();
  }
  EXPECT_EQ(PropertyList().text(), "");
}

}  // namespace
}  // namespace bellhop
