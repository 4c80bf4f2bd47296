// What a caller can pass wrongly, and the sentence for it. Exact texts: they are the interface people meet first.
#include "abi_support.h"

namespace fcc::test {
namespace {

class Binding : public ::testing::Test {
 protected:
  Model mlp_ = open_model("mlp_open");
  Session session_ = mlp_.session({1});
  std::vector<float> x_ = sample_rows(4);
};

TEST_F(Binding, UnknownNameSuggestsTheNearest) {
  Session border = open_model("border").session();
  EXPECT_EQ(error_of(FCC_NOT_FOUND, [&] { border.input_index("atention_mask"); }),
            "no input \"atention_mask\"; did you mean \"attention_mask\"?\n"
            " the model has: \"image\", \"ids\", \"attention_mask\", \"half\"");
  EXPECT_EQ(error_of(FCC_NOT_FOUND, [&] { border.input_index("pixel_values"); }),
            "no input \"pixel_values\"\n the model has: \"image\", \"ids\", \"attention_mask\", \"half\"");
  EXPECT_EQ(error_of(FCC_NOT_FOUND, [&] { session_.output_index("Logits"); }),
            "no output \"Logits\"; did you mean \"logits\"?\n the model has: \"logits\", \"probabilities\"");
  EXPECT_EQ(error_of(FCC_NOT_FOUND, [&] { session_.state("w"); }), "no state \"w\"; the model has none");
  EXPECT_EQ(error_of(FCC_NOT_FOUND, [&] { open_model("trained").session({0, nullptr, "train"}); }),
            "no entry \"train\"\n the model has: \"infer\", \"train_step\", \"evaluate\"");
}

TEST_F(Binding, IndexPastTheEnd) {
  EXPECT_EQ(error_of(FCC_BAD_ARGUMENT, [&] { session_.bind_input(3, x_); }),
            "there is no input 3: the model has 1, counted from 0");
  EXPECT_EQ(error_of(FCC_BAD_ARGUMENT, [&] { session_.bind_output(2, x_); }),
            "there is no output 2: the model has 2, counted from 0");
}

TEST_F(Binding, WrongFeatureCount) {
  std::vector<float> wide(2 * 5);
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", {wide, {2, 5}}); }),
            "input \"x\" wants f32[N,4], got f32[2,5]: dimension 1 is 5 instead of 4");
  std::vector<float> odd(7);
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", odd); }),
            "input \"x\" wants f32[N,4]: got 7 elements, expected a multiple of 4\n"
            " hint: check how the data was prepared, or pass dims with it");
}

TEST_F(Binding, UsualMistakesGetAHint) {
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", x_.data(), {4, 1, 2, 2}); }),
            "input \"x\" wants f32[N,4], got f32[4,1,2,2]: rank 4 instead of 2\n"
            " hint: flatten it first: the same data as [4,4] fits");
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", x_.data(), {4}); }),
            "input \"x\" wants f32[N,4], got f32[4]: rank 1 instead of 2\n"
            " hint: add the batch dimension: the same data as [1,4] fits");
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", x_.data(), {4, 3}); }),
            "input \"x\" wants f32[N,4], got f32[4,3]: dimension 1 is 3 instead of 4\n"
            " hint: the last two dimensions look swapped: transpose to [3,4]");
  std::vector<float> image(2 * 8 * 8 * 3);
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { open_model("border").session().bind_input("image", {image, {2, 8, 8, 3}}); }),
            "input \"image\" wants f32[N,3,8,8], got f32[2,8,8,3]: dimension 1 is 8 instead of 3\n"
            " hint: channels come first (NCHW): transpose to [2,3,8,8]");
}

TEST_F(Binding, OpenDimensionOutOfBounds) {
  EXPECT_EQ(
      error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", x_.data(), {5000, 4}); }),
      "input \"x\" wants f32[N,4], got f32[5000,4]: dimension 0 is 5000, the model was compiled for N from 1 to 4096\n"
      " hint: compile with wider bounds, such as --dim N=1..5000");
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", x_.data(), {0, 4}); }),
            "input \"x\" wants f32[N,4], got f32[0,4]: dimension 0 is 0, the model was compiled for N from 1 to 4096\n"
            " hint: compile with wider bounds, such as --dim N=0..4096");
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", x_.data(), {-1, 4}); }),
            "input \"x\" wants f32[N,4], got f32[?,4]: dimension 0 is -1, a size cannot be negative");
}

TEST_F(Binding, WrongType) {
  std::vector<double> doubles(16);
  EXPECT_EQ(error_of(FCC_BAD_DTYPE, [&] { session_.bind_input("x", doubles); }),
            "input \"x\" is f32, got f64\n hint: convert the data to f32; the runtime never converts");
  EXPECT_EQ(error_of(FCC_BAD_DTYPE, [&] { session_.bind_output("logits", doubles); }),
            "output \"logits\" is f32, got f64\n hint: convert the data to f32; the runtime never converts");
}

TEST_F(Binding, NullAndMisalignedMemory) {
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { session_.bind_input("x", static_cast<float*>(nullptr), {2, 4}); }),
            "input \"x\": the data pointer is null, expected 32 bytes");
  alignas(8) char bytes[64] = {};
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { session_.bind_input("x", reinterpret_cast<float*>(bytes + 2), {2, 4}); }),
            "input \"x\" is misaligned: f32 elements need addresses that are multiples of 4, got one that is 2 past\n"
            " hint: copy the data into memory of its own type");
}

TEST_F(Binding, StridedViewsAreRefusedAndDenseStridesAccepted) {
  const int64_t dims[] = {2, 4}, transposed[] = {1, 2}, dense[] = {4, 1};
  fcc_tensor tensor{x_.data(), FCC_F32, 2, dims, transposed};
  EXPECT_EQ(fcc_session_bind_input(session_.handle(), 0, &tensor), FCC_BAD_BUFFER);
  EXPECT_STREQ(
      fcc_error_text(),
      "input \"x\" is a strided view: stride 2 in dimension 1, dense memory has 1\n"
      " hint: copy it into dense row-major memory first (contiguous() in PyTorch, ascontiguousarray in NumPy)");
  tensor.strides = dense;
  EXPECT_EQ(fcc_session_bind_input(session_.handle(), 0, &tensor), FCC_OK);
}

TEST_F(Binding, DimsNull) {
  fcc_tensor tensor{x_.data(), FCC_F32, 2, nullptr, nullptr};
  EXPECT_EQ(fcc_session_bind_input(session_.handle(), 0, &tensor), FCC_BAD_ARGUMENT);
  EXPECT_STREQ(fcc_error_text(), "input \"x\": dims is null for a tensor of rank 2");
}

TEST_F(Binding, OutputTooSmall) {
  std::vector<float> small(11);
  session_.bind_input("x", x_);
  session_.bind_output("logits", small);
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { session_.run(); }),
            "output \"logits\" needs 48 bytes for f32[4,3], the memory bound to it has 44\n"
            " hint: bind at least 48 bytes, or bind nothing and read the runtime's own memory");
  std::vector<float> enough(12);
  session_.bind_output("logits", enough);
  session_.run();
  EXPECT_NE(enough[11], 0.0f);
}

TEST_F(Binding, OverlappingMemory) {
  std::vector<float> both(40);
  session_.bind_input("x", both.data(), {4, 4});
  session_.bind_output("logits", both.data() + 8, 12);
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { session_.run(); }),
            "output \"logits\" overlaps input \"x\" in memory\n"
            " hint: give each output memory of its own; to feed an output back, swap two buffers");
  session_.bind_output("logits", both.data() + 16, 12);
  session_.bind_output("probabilities", both.data() + 20, 12);
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { session_.run(); }),
            "output \"logits\" overlaps output \"probabilities\" in memory\n"
            " hint: give each output memory of its own; to feed an output back, swap two buffers");
  session_.bind_output("probabilities", both.data() + 28, 12);
  session_.run();  // neighbours are fine
}

TEST_F(Binding, InputNeverBound) {
  Session border = open_model("border").session();
  std::vector<int64_t> ids(2);
  border.bind_input("ids", ids);
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { border.run(); }),
            "not every input is bound; missing: \"image\" f32[N,3,8,8], \"attention_mask\" bool[N,M], \"half\" f16[M]\n"
            " hint: bind all inputs before the run");
}

TEST_F(Binding, InputsThatDisagree) {
  Session border = open_model("border").session();
  std::vector<float> image(2 * 192);
  std::vector<int64_t> ids(3);
  std::vector<uint8_t> mask(2 * 5);
  std::vector<uint16_t> half(5);
  border.bind_input("image", {image, {2, 3, 8, 8}});
  border.bind_input("ids", {ids, {3}});
  border.bind_input("attention_mask", {mask, {2, 5}});
  border.bind_input("half", half);
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { border.run(); }),
            "N is 3 in input \"ids\" (dimension 0) but 2 in input \"image\" (dimension 0)\n"
            " hint: both are N in the model, so they must be equal");
  ids.assign({7, 8});
  border.bind_input("ids", {ids, {2}});
  mask.assign(10, 1);
  EXPECT_EQ(border.run()["sum"].copy<double>(), (std::vector<double>{12, 13}));
}

TEST_F(Binding, FlatDataTakesItsDimsFromTheModel) {
  Session border = open_model("border").session();
  std::vector<uint8_t> mask(2 * 5);
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { border.bind_input("attention_mask", mask); }),
            "input \"attention_mask\" wants bool[N,M]: 10 elements without dims can be split in more than one way\n"
            " hint: pass the dims with the data");
  std::vector<float> image(2 * 192);
  border.bind_input("image", image);          // N = 2
  border.bind_input("attention_mask", mask);  // so M = 5
  std::vector<int64_t> ids(2);
  std::vector<uint16_t> half(5);
  border.bind_input("ids", ids);
  border.bind_input("half", half);
  EXPECT_EQ(border.output_dims("sum"), (std::vector<int64_t>{2}));
  half.resize(4);
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { border.bind_input("half", half); }),
            "input \"half\" wants f16[M]: got 4 elements, expected 5\n"
            " hint: check how the data was prepared, or pass dims with it");
}

TEST_F(Binding, TemporariesAreForRunOnly) {
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { session_.bind_input("x", std::vector<float>(4)); }),
            "the data bound is a temporary, gone before the run\n"
            " hint: keep it in a variable, or pass it to run({{name, data}})");
  auto outputs = session_.run({{"x", std::vector<float>(4)}});
  EXPECT_EQ(outputs["logits"].size(), 3u);
}

TEST_F(Binding, DimsAndDataMustAgree) {
  EXPECT_EQ(error_of(FCC_BAD_SHAPE, [&] { session_.bind_input("x", {x_, {5, 4}}); }),
            "the dims given hold 20 elements, the data has 16");
}

TEST_F(Binding, OutputsAsTheWrongType) {
  auto outputs = session_.run({{"x", x_}});
  EXPECT_EQ(error_of(FCC_BAD_DTYPE, [&] { outputs["logits"].as<double>(); }), "the tensor holds f32, asked for f64");
}

TEST_F(Binding, OutputBeforeARun) {
  EXPECT_EQ(error_of(FCC_BAD_ARGUMENT, [&] { session_.output("logits"); }),
            "output \"logits\" has no value: there was no successful run since the last bind\n"
            " hint: read outputs after run");
}

TEST_F(Binding, OptionsOutOfRange) {
  EXPECT_EQ(error_of(FCC_BAD_ARGUMENT, [&] { mlp_.session({1000}); }), "threads is 1000, expected 0 to 128");
  fcc_session_options options{};
  fcc_session* session = nullptr;
  EXPECT_EQ(fcc_session_create(mlp_.handle(), &options, &session), FCC_BAD_ARGUMENT);
  EXPECT_STREQ(fcc_error_text(), ("options->bytes is 0, expected " + std::to_string(sizeof options) +
                                  "\n hint: set it to sizeof(fcc_session_options)")
                                     .c_str());
  ScopedEnv threads("FCC_NUM_THREADS", "many");
  std::string text = error_of(FCC_BAD_ARGUMENT, [&] { mlp_.session(); });
  EXPECT_EQ(
      text.find("environment variable FCC_NUM_THREADS is \"many\", expected a number from 1 to 128\n hint: unset it"),
      0u)
      << text;
}

}  // namespace
}  // namespace fcc::test
