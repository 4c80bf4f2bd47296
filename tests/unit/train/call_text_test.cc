#include "ir/base/call_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fcc {
namespace {

using testing::HasSubstr;

TEST(CallText, TakesApart) {
  Result<CallText> c = parse_call(" adam ( lr = 1e-3, beta1=.5 , \"x,y\" )", "optimizer");
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_EQ(c->name, "adam");
  EXPECT_EQ(c->values, std::vector<std::string>{"x,y"});
  ASSERT_EQ(c->options.size(), 2u);
  EXPECT_EQ(c->options[0], (std::pair<std::string, std::string>{"lr", "1e-3"}));
  EXPECT_EQ(parse_call("mse", "loss")->name, "mse");
  EXPECT_EQ(parse_call("output:y.0", "loss")->name, "output:y.0");
  EXPECT_TRUE(parse_call("sgd()", "optimizer")->options.empty());
}

TEST(CallText, SumsKeepExponentsAndParentheses) {
  const auto sum = parse_sum("0.5*mse(y0) + 1e+1*huber(y1,delta=2)+l1", "loss");
  ASSERT_TRUE(sum) << sum.error().text();
  ASSERT_EQ(sum->size(), 3u);
  EXPECT_EQ((*sum)[0].first, 0.5);
  EXPECT_EQ((*sum)[1].first, 10);
  EXPECT_EQ((*sum)[1].second.options[0].second, "2");
  EXPECT_EQ((*sum)[2].second.name, "l1");
}

TEST(CallText, Refuses) {
  EXPECT_THAT(parse_call("adam(lr=1", "optimizer").error().what, HasSubstr("closing parenthesis"));
  EXPECT_THAT(parse_call("(lr=1)", "optimizer").error().what, HasSubstr("begin with a name"));
  EXPECT_THAT(parse_call("adam(lr=1,lr=2)", "optimizer").error().what, HasSubstr("lr twice"));
  EXPECT_THAT(parse_call("adam(=1)", "optimizer").error().what, HasSubstr("no key"));
  EXPECT_THAT(parse_call("adam(,)", "optimizer").error().what, HasSubstr("empty argument"));
  EXPECT_THAT(parse_sum("x*mse", "loss").error().what, HasSubstr("expected a number"));
}

TEST(CallText, ArgumentsAreAskedForOnce) {
  const CallText call = *parse_call("sgd(lr=0.5,nesterov=true,momentun=1)", "optimizer");
  Arguments a(call, "optimizer");
  EXPECT_EQ(a.number("lr", 1).value(), 0.5);
  EXPECT_EQ(a.number("nesterov", 0).value(), 1);
  EXPECT_EQ(a.number("momentum", 0.25).value(), 0.25);
  const Status left = a.finish();
  ASSERT_FALSE(left);
  EXPECT_THAT(left.error().what, HasSubstr("no argument \"momentun\""));
  EXPECT_THAT(left.error().hint, HasSubstr("momentum"));
}

}  // namespace
}  // namespace fcc
