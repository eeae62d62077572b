// Options from a file: what each may be, and where a fault lies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/machine_options.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

class OptionsFileTest : public ::testing::Test {
 protected:
  OptionsFileTest() {
    char name[] = "/tmp/bellhop-options-XXXXXX";
    folder_ = ::mkdtemp(name);
    kernel_ = file("kernel");
  }
  ~OptionsFileTest() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path) << "x";
    return path;
  }
  /// What is wrong with a file that names a kernel in its first line and goes on with `text`.
  std::string fault_of_file(const std::string& text) {
    const auto options = parse_options_text("kernel = '" + kernel_ + "'\n" + text, "f");
    if (!options) return options.error().message;
    const auto config = make_machine_config(*options);
    return config ? "" : config.error().message;
  }

  std::string folder_;
  std::string kernel_;
};

TEST_F(OptionsFileTest, FileHasTheNamesOfTheCommandLine) {
  const auto options = parse_options_text(R"(
      kernel = "k.elf"
      cpus = 2
      memory = { size = "64M", hugepages = true }
      [[iothread]]
      name = "io0"
      cpus = 0
      [[disk]]
      null = "1G"
      id = "a"
      readonly = true
      [[disk]]
      path = "b.img")",
                                          "machine.toml");
  ASSERT_TRUE(options.has_value()) << options.error().message;
  EXPECT_EQ(options->kernel->text, "k.elf");
  EXPECT_EQ(options->cpus->text, "2");
  EXPECT_EQ(options->memory.find("hugepages")->value, "on");
  ASSERT_EQ(options->disks.size(), 2U);
  EXPECT_EQ(options->disks[0].find("null")->value, "1G");
  EXPECT_EQ(options->disks[0].find("readonly")->value, "on");
  EXPECT_EQ(options->iothreads.at(0).find("cpus")->value, "0");
}

TEST_F(OptionsFileTest, RelativePathsAreMeantFromItsFolder) {
  const auto options = parse_options_text(R"(
      kernel = "vmlinuz"
      initrd = "/boot/initrd.img"
      cmdline = "a/b"
      stats = "-"
      serial = "file=log"
      explain = "life.json"
      disk = ["a.img,readonly", "path=/b.img",
              { path = "c.img" }]
      [[console]]
      socket = "agent"
      [[rng]]
      src = "random")",
                                          "etc/machines/web.toml");
  ASSERT_TRUE(options.has_value()) << options.error().message;
  EXPECT_EQ(options->kernel->text, "etc/machines/vmlinuz");
  EXPECT_EQ(options->initrd->text, "/boot/initrd.img");
  EXPECT_EQ(options->cmdline->text, "a/b");
  EXPECT_EQ(options->stats->text, "-");
  EXPECT_EQ(options->serial->text, "file=etc/machines/log");
  EXPECT_EQ(options->explain->text, "etc/machines/life.json");
  EXPECT_EQ(options->disks.at(0).find("path")->value, "etc/machines/a.img");
  EXPECT_EQ(options->disks.at(1).find("path")->value, "/b.img");
  EXPECT_EQ(options->disks.at(2).find("path")->value, "etc/machines/c.img");
  EXPECT_EQ(options->disks.at(2).find("path")->place, "etc/machines/web.toml:9");
  EXPECT_EQ(options->consoles.at(0).find("socket")->value, "etc/machines/agent");
  EXPECT_EQ(options->rngs.at(0).find("src")->value, "etc/machines/random");
  EXPECT_EQ(parse_options_text("kernel = 'k'", "web.toml")->kernel->text, "k");
}

TEST_F(OptionsFileTest, AMisspeltNameGetsTheNearest) {
  EXPECT_EQ(fault_of_file("cpu = 2"), "f:2: unknown name 'cpu': cpus?");
  EXPECT_EQ(fault_of_file("[[disks]]"), "f:2: unknown name 'disks': disk?");
  EXPECT_EQ(fault_of_file("colour = 1"), "f:2: unknown name 'colour'");
}

TEST_F(OptionsFileTest, FaultsOfAFileHaveItsLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"cpus = ", "f:1: "},
      {"\ncolour = 1", "f:2: unknown name 'colour'"},
      {"cpus = [1]", "f:1: cpus must be a string or a number"},
      {"disk = 1.5", "f:1: disk must be a table"},
      {"disk = ['a=1', 'a=1,a=2']", "a is given twice"},
      {"[disk]\npath = 1979-05-27", "f:2: path must be a string"},
  };
  for (const auto& [text, expected] : cases) {
    const auto options = parse_options_text(text, "f");
    ASSERT_FALSE(options.has_value()) << text;
    EXPECT_THAT(options.error().message, HasSubstr(expected)) << text;
  }
  EXPECT_THAT(read_options_file("/nonexistent").error().message,
              HasSubstr("--config: cannot read /nonexistent"));
}

TEST_F(OptionsFileTest, EveryFaultOfAFileHasTheLineAndTheKeyThatAreWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"initrd = '/nonexistent'", "f:2: initrd: cannot open /nonexistent"},
      {"\ncpus = 'many'", "f:3: cpus: 'many' is wrong"},
      {"vcpu-affinity = '0='", "f:2: vcpu-affinity: vCPU 0 needs"},
      {"vcpu-affinity = '7=0'", "f:2: vcpu-affinity: '7' is wrong"},
      {"transport = 'isa'", "f:2: transport: 'isa' is unknown"},
      {"on-reset = 'burn'", "f:2: on-reset: 'burn' is unknown"},
      {"stop-timeout = 90", "f:2: stop-timeout: 90 has no unit: 90s?"},
      {"max-ioeventfds = 'x'", "f:2: max-ioeventfds: 'x' is wrong"},
      {"reserve-ioeventfds = 'x'", "f:2: reserve-ioeventfds: 'x' is wrong"},
      {"memory = '1M'", "f:2: memory: size=1M is wrong"},
      {"[memory]\nhugepages = true\nshared = false", "f:4: memory: shared=off is wrong"},
      {"[[iothread]]\nname = 'a'\n[[iothread]]\nname = 'auto'", "f:5: iothread: 'auto' is no name"},
      {"[[iothread]]\nname = 'a'\n[[iothread]]\nname = 'a'", "f:4: iothread: a is given twice"},
      {"[[disk]]\nnull = '1G'\n[[disk]]\nnull = '1G'\nnotify = 'loud'", "f:6: disk: notify=loud"},
      {"disk = [\n'null=1G',\n'null=1G,notify=loud']", "f:4: disk: notify=loud"},
      {"disk = ['null=1G',\n'null=1G,']", "f:3: disk: an item is empty"},
      {"[[disk]]\nnull = '1G'\n[[disk]]\nid = 'b'", "f:4: disk: one of path=FILE"},
      {"[[disk]]\nnull = '1G'\n[[disk]]\npath = '/nonexistent'", "f:5: disk disk1: cannot open"},
      {"[[disk]]\nnull = '1G'\niothread = 'b'", "f:2: disk: iothread=b is not there"},
      {"[[disk]]\nnull = '1G'\nid = 'a'\n[[rng]]\nid = 'a'", "f:5: rng: id=a is given to two"},
      {"[[net]]\nuser = true\n[[net]]\nuser = true\nhostfwd = [\n'x']", "f:7: net: "},
      {"[[balloon]]\n[[balloon]]", "f:3: balloon: a machine has one at most"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_THAT(fault_of_file(text), ::testing::StartsWith(expected)) << text;
  }
  for (const DeviceKind& kind : device_kinds()) {
    const std::string table = "[[" + std::string(kind.option.name) + "]]\n";
    const std::string place = "f:3: " + std::string(kind.option.name) + ": ";
    EXPECT_THAT(fault_of_file(table + "id = true"), HasSubstr(place + "id=true is wrong"));
  }
  for (const ScalarOption& one : scalar_options()) {
    const std::string name(one.name.substr(2));
    for (const char* value : {"true", "1.5", "[]", "{}"}) {
      const auto options = parse_options_text("\n" + name + " = " + value, "f");
      ASSERT_FALSE(options) << name;
      EXPECT_EQ(options.error().message, "f:2: " + name + " must be a string or a number");
    }
  }
}

// Values of the command line are nowhere in the file, although their device is.
TEST_F(OptionsFileTest, AFaultHasThePlaceOfWhatIsWrong) {
  auto options = parse_options_text(
      "kernel = '" + kernel_ + "'\ncpus = 1\n[[disk]]\nid = 'a'\nnull = '1G'", "f");
  ASSERT_TRUE(options) << options.error().message;
  MachineOptions later;
  later.disks.push_back(*PropertyList::parse("id=a,queues=0"));
  options->merge(later);
  EXPECT_THAT(make_machine_config(*options).error().message,
              ::testing::StartsWith("--disk: queues=0 is wrong"));
  later = MachineOptions();
  later.cpus = "0";
  options->merge(later);
  EXPECT_THAT(make_machine_config(*options).error().message, ::testing::StartsWith("--cpus: '0'"));
}

TEST_F(OptionsFileTest, BooleansMeanWhatTheySay) {
  const auto rngs = [](const std::string& text) {
    const auto options = parse_options_text(text, "f");
    EXPECT_TRUE(options) << options.error().message;
    return options ? options->rngs : std::vector<PropertyList>();
  };
  EXPECT_TRUE(rngs("rng = false").empty());
  ASSERT_EQ(rngs("rng = true").size(), 1U);
  EXPECT_TRUE(rngs("rng = true")[0].items().empty());
  EXPECT_EQ(rngs("rng = [true, false, '/dev/hwrng']").size(), 2U);
  EXPECT_EQ(fault_of_file("rng = true\nballoon = true"), "");
  EXPECT_THAT(fault_of_file("disk = false"), HasSubstr("f:2: disk must be a table"));
  EXPECT_THAT(fault_of_file("memory = false"), HasSubstr("f:2: memory must be a table"));
  EXPECT_THAT(fault_of_file("iothread = true"), HasSubstr("f:2: iothread must be a table"));
  for (const char* text :
       {"[[rng]]\nsrc = false", "[[disk]]\npath = false", "[[disk]]\nnull = false",
        "[[disk]]\nqueues = false", "[[console]]\nfile = false", "[[iothread]]\ncpus = false"}) {
    EXPECT_THAT(fault_of_file(text), ::testing::ContainsRegex("f:3: .*=false is wrong")) << text;
  }
  const std::string disk = "[[disk]]\npath = '" + file("disk") + "'\n";
  EXPECT_EQ(fault_of_file(disk + "readonly = false"), "");
  EXPECT_THAT(fault_of_file(disk + "cache = false"), HasSubstr("f:4: disk: cache=false is wrong"));
  EXPECT_THAT(fault_of_file("[[net]]\nuser = false"), HasSubstr("is needed"));
  EXPECT_EQ(fault_of_file("[[net]]\ntap = 'a'\nvhost = false"), "");
}

TEST_F(OptionsFileTest, AFileThatHasNoEndIsNotRead) {
  EXPECT_EQ(read_options_file("/dev/zero").error().message, "--config: /dev/zero is not a file");
  EXPECT_THAT(read_options_file(folder_).error().message, HasSubstr("is not a file"));
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(read_options_file(pipe).error().message, HasSubstr("is not a file"));
  const std::string large = file("large");
  std::ofstream(large) << std::string(1 << 20, '\n');
  EXPECT_TRUE(read_options_file(large));
  std::ofstream(large, std::ios::app) << '\n';
  EXPECT_EQ(read_options_file(large).error().message, "--config: " + large + " has more than 1M");
}

TEST_F(OptionsFileTest, CommandLineWinsOverTheFile) {
  auto options = parse_options_text(
      "kernel = 'k'\ncpus = 1\ndisk = ['null=1G,id=a,queues=2', 'null=2G,id=b']", "f");
  ASSERT_TRUE(options.has_value());
  MachineOptions later;
  later.cpus = "4";
  later.disks.push_back(*PropertyList::parse("id=a,notify=sync"));
  later.disks.push_back(*PropertyList::parse("null=3G"));
  options->merge(later);
  EXPECT_EQ(options->kernel->text, "k");
  EXPECT_EQ(options->cpus->text, "4");
  ASSERT_EQ(options->disks.size(), 3U);
  EXPECT_EQ(options->disks[0].find("queues")->value, "2");
  EXPECT_EQ(options->disks[0].find("notify")->value, "sync");
}

}  // namespace
}  // namespace bellhop
