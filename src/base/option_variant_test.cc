#include "base/option_variant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellhop {
namespace {

using ::testing::HasSubstr;

struct Apple {
  static constexpr std::string_view kChoice = "apple=N";
  static constexpr std::string_view kKeys[] = {"apple", "peel", "ripe"};
  static constexpr std::string_view kHelp = "apples\n";
  static unsigned chosen(PropertyReader& reader) { return reader.has("apple") ? 1 : 0; }
  static Apple parse(PropertyReader& reader) {
    Apple one;
    reader.number("apple", one.count, 1, 9);
    reader.flag("peel", one.peel);
    reader.flag("ripe", one.ripe);
    return one;
  }
  [[nodiscard]] Status check_together(std::string_view option, const Apple& other) const {
    if (other.count != count) return {};
    return fail(fmt::format("{}: as many apples", option));
  }
  unsigned count = 0;
  bool peel = false;
  bool ripe = false;
};

struct Nut {
  static constexpr std::string_view kChoice = "nut";
  static constexpr std::string_view kKeys[] = {"shell", "ripe"};
  static constexpr std::string_view kHelp = "nuts\n";
  static unsigned chosen(PropertyReader& reader) {
    bool on = false;
    reader.flag("nut", on);
    return on ? 1 : 0;
  }
  static Nut parse(PropertyReader& reader) {
    Nut one;
    reader.flag("shell", one.shell);
    reader.flag("ripe", one.ripe);
    return one;
  }
  [[nodiscard]] Status check_together(std::string_view option, const Nut&) const {
    return fail(fmt::format("{}: two nuts", option));
  }
  bool shell = false;
  bool ripe = false;
};

using Fruit = OptionVariant<std::variant<Apple, Nut>>;

Result<Fruit::Variant> parse(std::string_view text) {
  const auto list = PropertyList::parse(text);
  PropertyReader reader("--fruit", *list);
  auto fruit = Fruit::parse(reader);
  if (auto status = reader.finish(); !status) return forward(status);
  return fruit;
}
std::string fault(std::string_view text) {
  const auto fruit = parse(text);
  return fruit ? "" : fruit.error().message;
}

TEST(OptionVariant, TheChosenOneReadsItsKeys) {
  const auto apple = parse("ripe,apple=3,peel");
  ASSERT_TRUE(apple) << apple.error().message;
  EXPECT_EQ(std::get<Apple>(*apple).count, 3U);
  EXPECT_TRUE(std::get<Apple>(*apple).peel);
  const auto nut = parse("nut,ripe");
  ASSERT_TRUE(nut) << nut.error().message;
  EXPECT_TRUE(std::get<Nut>(*nut).ripe);
  EXPECT_TRUE(parse("nut=off,apple=1"));
  EXPECT_EQ(Fruit::help(" end"), "apples\nnuts\n end");
}

TEST(OptionVariant, SaysWhatIsWrong) {
  EXPECT_EQ(fault("ripe"), "--fruit: one of apple=N, nut is needed");
  EXPECT_EQ(fault("nut,apple=1"), "--fruit: one of apple=N, nut is needed, and no two of them");
  EXPECT_EQ(fault("apple=1,shell"), "--fruit: shell goes with nut");
  EXPECT_EQ(fault("nut,peel"), "--fruit: peel goes with apple=N");
  EXPECT_THAT(fault("apple=10,shell"), HasSubstr("apple=10 is wrong"));
  EXPECT_THAT(fault("aple=1"), HasSubstr("unknown key 'aple'")) << "told before what is missing";
}

TEST(OptionVariant, OnlyTheSameKindIsComparedWithItself) {
  EXPECT_FALSE(Fruit::check_together("--fruit", *parse("nut"), *parse("nut")));
  EXPECT_TRUE(Fruit::check_together("--fruit", *parse("nut"), *parse("apple=1")));
  EXPECT_TRUE(Fruit::check_together("--fruit", *parse("apple=2"), *parse("apple=1")));
  EXPECT_EQ(Fruit::check_together("--fruit", *parse("apple=1"), *parse("apple=1")).error().message,
            "--fruit: as many apples");
}

}  // namespace
}  // namespace bellhop
