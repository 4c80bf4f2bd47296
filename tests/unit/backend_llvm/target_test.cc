#include "ir/target.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace fcc {
namespace {

TEST(Target, TextRoundTrips) {
  for (const char* text : {"x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", "x86-64-v4,avx512-bf16,l2=2M,threads=4",
                           "x86-64-v3,l1=48K,l3=1000"}) {
    Result<Target> t = Target::parse(text);
    ASSERT_TRUE(t) << text;
    EXPECT_EQ(t->text(), text);
    EXPECT_EQ(*Target::parse(t->text()), *t);
  }
}

TEST(Target, DefaultsAreNotPrinted) {
  EXPECT_EQ(Target::parse("x86-64-v4,l2=1M,threads=2")->text(), "x86-64-v4");
}

TEST(Target, RefusesWithASentence) {
  EXPECT_EQ(Target::parse("skylake").error().what, "unknown target \"skylake\"");
  EXPECT_EQ(Target::parse("x86-64-v3,l9=2M").error().what, "target \"x86-64-v3,l9=2M\": \"l9=2M\" is not understood");
  EXPECT_FALSE(Target::parse("x86-64-v3,l2=-2"));
  EXPECT_FALSE(Target::parse("x86-64-v3,l2="));
  EXPECT_FALSE(Target::parse("x86-64-v3,avx512-bf16"));
  EXPECT_FALSE(Target::parse(""));
}

TEST(Target, HostIsALevelAndObeysTheCap) {
  ::setenv("FCC_MAX_ISA", "x86-64-v2", 1);
  EXPECT_EQ(Target::parse("host")->text(), "x86-64-v2");
  ::setenv("FCC_MAX_ISA", "pentium", 1);
  EXPECT_FALSE(Target::parse("host"));
  ::unsetenv("FCC_MAX_ISA");
  EXPECT_EQ(*Target::host(), Target::level(Target::host()->isa));
}

TEST(Target, ListsAreSortedBestFirst) {
  Result<std::vector<Target>> list = parse_targets("x86-64-v2,x86-64-v4,l2=2M;x86-64-v3,x86-64-v2");
  ASSERT_TRUE(list) << list.error().text();
  ASSERT_EQ(list->size(), 3u);
  EXPECT_EQ((*list)[0].text(), "x86-64-v4,l2=2M");
  EXPECT_EQ((*list)[2].text(), "x86-64-v2");
  EXPECT_FALSE(parse_targets("x86-64-v3,aarch64"));
}

}  // namespace
}  // namespace fcc
