// Rows 35 to 50: tensors whose bytes do not fit their type, inside the file and beside it; interfaces of the graph.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "frontend/digest.h"
#include "tests/errors/error_cases.h"

namespace fcc::test {
namespace {

using onnx::TensorProto;

// The initializer "w" of add_model, spoilt.
ErrorCase bad_tensor(std::string name, std::function<void(TensorProto&)> spoil) {
  return bad_model(std::move(name), add_model, [=](ModelMaker& m) { spoil(*m.g().mutable_initializer(0)); });
}

std::function<void(TensorProto&)> dims(std::vector<int64_t> d) {
  return [=](TensorProto& t) {
    t.clear_dims();
    for (int64_t x : d) t.add_dims(x);
  };
}

std::function<void(TensorProto&)> typed(int type, size_t bytes) {
  return [=](TensorProto& t) {
    t.set_data_type(type);
    t.set_raw_data(std::string(bytes, '\1'));
  };
}

std::vector<ErrorCase> storage_cases() {
  return {
      bad_tensor("r35_dim_negative", dims({-1, 6})),
      bad_tensor("r35_dim_zero_with_data", dims({0, 6})),
      bad_tensor("r35_dim_2_62", dims({int64_t{1} << 62})),
      bad_tensor("r35_product_overflow", dims({int64_t{1} << 32, int64_t{1} << 32})),
      bad_tensor("r35_product_overflow_behind_zero", dims({0, int64_t{1} << 62, int64_t{1} << 62})),
      bad_tensor("r35_two_tib_announced", dims({int64_t{1} << 39})),
      bad_tensor("r36_raw_short", [](TensorProto& t) { t.mutable_raw_data()->resize(20); }),
      bad_tensor("r36_raw_long", [](TensorProto& t) { t.mutable_raw_data()->resize(28); }),
      bad_tensor("r36_raw_odd", [](TensorProto& t) { t.mutable_raw_data()->resize(23); }),
      bad_tensor("r36_no_data", [](TensorProto& t) { t.clear_raw_data(); }),
      bad_tensor("r36_typed_short",
                 [](TensorProto& t) {
                   t.clear_raw_data();
                   t.add_float_data(1);
                 }),
      bad_tensor("r37_wrong_typed_field",
                 [](TensorProto& t) {
                   t.clear_raw_data();
                   for (int i = 0; i < 6; ++i) t.add_int32_data(i);
                 }),
      bad_tensor("r37_value_does_not_fit",
                 [](TensorProto& t) {
                   t.clear_raw_data();
                   t.set_data_type(kUint8);
                   for (int i = 0; i < 6; ++i) t.add_int32_data(i == 5 ? 300 : i);
                 }),
      bad_tensor("r38_raw_and_typed", [](TensorProto& t) { t.add_float_data(1); }),
      bad_tensor("r38_two_typed_fields",
                 [](TensorProto& t) {
                   t.clear_raw_data();
                   t.add_float_data(1);
                   t.add_int64_data(1);
                 }),
      bad_tensor("r39_data_type_0", [](TensorProto& t) { t.set_data_type(0); }),
      bad_tensor("r39_data_type_99", [](TensorProto& t) { t.set_data_type(99); }),
      bad_tensor("r39_data_type_negative", [](TensorProto& t) { t.set_data_type(-1); }),
      bad_tensor("r40_segment", [](TensorProto& t) { t.mutable_segment()->set_begin(0); }),
      bad_tensor("r41_int4", typed(22, 3)),
      bad_tensor("r41_int4_short", typed(22, 2)),
      bad_tensor("r41_float8", typed(17, 6)),
      bad_tensor("r41_float8_long", typed(17, 7)),
      bad_tensor("r41_bfloat16_odd", typed(kBfloat16, 13)),
      bad_tensor("r41_complex", typed(14, 48)),
      bad_tensor("r41_string",
                 [](TensorProto& t) {
                   t.clear_raw_data();
                   t.set_data_type(kString);
                   for (int i = 0; i < 6; ++i) t.add_string_data("s");
                 }),
      bad_model(
          "r41_float8_unused", [] { return relu_model(); },
          [](ModelMaker& m) { ModelMaker::fill(*m.g().add_initializer(), "q", 17, {2}, "ab", 2); }),
      bad_tensor("r44_nan_inf_denormal",
                 [](TensorProto& t) {
                   const float v[6] = {NAN, INFINITY, -INFINITY, std::numeric_limits<float>::denorm_min(), -0.0f, 1};
                   t.set_raw_data(v, sizeof v);
                 }),
      bad_tensor("rank_64", dims(std::vector<int64_t>(64, 1))),
  };
}

// y = x + s, s sparse f32[3,4] with the given positions.
ErrorCase sparse(std::string name, std::vector<int64_t> index_dims, std::vector<int64_t> indices,
                 std::vector<int64_t> shape = {3, 4}, int index_type = kInt64) {
  return {std::move(name), [=](const TempDir&) {
            ModelMaker m;
            m.input("x", {3, 4});
            auto* s = m.g().add_sparse_initializer();
            const float values[3] = {1, 2, 3};
            ModelMaker::fill(*s->mutable_values(), "s", kFloat, {3}, values, sizeof values);
            ModelMaker::fill(*s->mutable_indices(), "", index_type, index_dims, indices.data(), indices.size() * 8);
            for (int64_t d : shape) s->add_dims(d);
            m.node("Add", {"x", "s"}, {"y"});
            m.output("y");
            return import_string(m.bytes());
          }};
}

std::vector<ErrorCase> sparse_cases() {
  return {
      sparse("r43_good", {3}, {0, 5, 11}),
      sparse("r43_good_tuples", {3, 2}, {0, 0, 1, 1, 2, 3}),
      sparse("r43_unsorted", {3}, {5, 0, 11}),
      sparse("r43_duplicate", {3}, {0, 5, 5}),
      sparse("r43_negative", {3}, {-1, 5, 11}),
      sparse("r43_out_of_range", {3}, {0, 5, 12}),
      sparse("r43_tuple_out_of_range", {3, 2}, {0, 0, 1, 4, 2, 3}),
      sparse("r43_wrong_index_shape", {2}, {0, 1}),
      sparse("r43_wrong_index_type", {3}, {0, 5, 11}, {3, 4}, 11),
      sparse("r43_explodes", {3}, {0, 5, 11}, {int64_t{1} << 20, int64_t{1} << 20}),
      sparse("r43_negative_extent", {3}, {0, 5, 11}, {-3, 4}),
  };
}

std::vector<ErrorCase> interface_cases() {
  const auto shape = [](ModelMaker& m) {
    return m.g().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
  };
  return {
      bad_model("input_without_type", add_model, [](ModelMaker& m) { m.g().mutable_input(0)->clear_type(); }),
      bad_model("input_without_shape", add_model,
                [](ModelMaker& m) { m.g().mutable_input(0)->mutable_type()->mutable_tensor_type()->clear_shape(); }),
      bad_model(
          "input_of_type_string", add_model,
          [](ModelMaker& m) { m.g().mutable_input(0)->mutable_type()->mutable_tensor_type()->set_elem_type(kString); }),
      bad_model(
          "input_of_type_99", add_model,
          [](ModelMaker& m) { m.g().mutable_input(0)->mutable_type()->mutable_tensor_type()->set_elem_type(99); }),
      bad_model("input_is_a_sequence", add_model,
                [](ModelMaker& m) { m.g().mutable_input(0)->mutable_type()->mutable_sequence_type(); }),
      bad_model("input_dim_negative", add_model, [=](ModelMaker& m) { shape(m)->mutable_dim(0)->set_dim_value(-7); }),
      bad_model("input_dim_minus_one_is_open", add_model,
                [=](ModelMaker& m) { shape(m)->mutable_dim(0)->set_dim_value(-1); }),
      bad_model("input_dim_2_62", add_model,
                [=](ModelMaker& m) { shape(m)->mutable_dim(0)->set_dim_value(int64_t{1} << 62); }),
      bad_model("r58_input_rank_64", add_model,
                [=](ModelMaker& m) {
                  for (int i = 0; i < 62; ++i) shape(m)->add_dim()->set_dim_value(1);
                }),
      bad_model(
          "output_of_other_type", add_model,
          [](ModelMaker& m) { m.g().mutable_output(0)->mutable_type()->mutable_tensor_type()->set_elem_type(kInt64); }),
      bad_model("dim_setting_without_value", add_model, [](ModelMaker&) {}, {.dims = {"N"}}),
      bad_model("dim_setting_no_number", add_model, [](ModelMaker&) {}, {.dims = {"N=many"}}),
      bad_model("dim_setting_empty_range", add_model, [](ModelMaker&) {}, {.dims = {"N=9..3"}}),
      bad_model("dim_setting_twice", add_model, [](ModelMaker&) {}, {.dims = {"N=1", "N=2"}}),
      bad_model("dim_setting_of_closed_model", add_model, [](ModelMaker&) {}, {.dims = {"N=1"}}),
      bad_model("dim_setting_misspelt", add_model,
                [=](ModelMaker& m) { shape(m)->mutable_dim(0)->set_dim_param("batch"); }, {.dims = {"bacth=4"}}),
      bad_model("dim_setting_unlike_any", add_model,
                [=](ModelMaker& m) { shape(m)->mutable_dim(0)->set_dim_param("batch"); },
                {.dims = {"sequence_length=4"}}),
  };
}

// ---- external data ----------------------------------------------------------------------------------------

using Entries = std::vector<std::pair<std::string, std::string>>;
const std::string kWeights(24, '\0');

// add_model in DIR/m.onnx with "w" beside it; `prepare` makes the files.
ErrorCase outside(
    std::string name, Entries entries,
    std::function<void(const TempDir&)> prepare = [](const TempDir& d) { d.write("w.bin", kWeights); }) {
  return {std::move(name), [=](const TempDir& dir) {
            ModelMaker m = add_model();
            external(*m.g().mutable_initializer(0), entries);
            prepare(dir);
            return import_file(dir.write("m.onnx", m.bytes()));
          }};
}
ErrorCase location(
    std::string name, std::string where,
    std::function<void(const TempDir&)> prepare = [](const TempDir& d) { d.write("w.bin", kWeights); }) {
  return outside(std::move(name), {{"location", std::move(where)}}, std::move(prepare));
}

std::vector<ErrorCase> location_cases() {
  return {
      location("r45_good", "w.bin"),
      location("r45_good_below", "sub/w.bin", [](const TempDir& d) { d.write("sub/w.bin", kWeights); }),
      location("r45_good_dot", "./w.bin"),
      location("r45_absolute", "/etc/passwd"),
      location("r45_parent", "../w.bin"),
      location("r45_parent_inside", "a/../../b"),
      location("r45_parent_harmless", "sub/../w.bin"),
      location("r45_double_slash", "sub//w.bin"),
      location("r45_empty", ""),
      location("r45_dot", "."),
      location("r45_nul", std::string("w.bin\0x", 7)),
      location("r45_url", "file:///etc/passwd"),
      location("r45_unc", "\\\\server\\share\\w.bin"),
      location("r45_drive", "C:w.bin"),
      location("r45_backslash", "sub\\w.bin"),
      location("r45_long", std::string(5000, 'a')),
      location("r45_missing", "nothing.bin"),
      location("r45_directory", "sub", [](const TempDir& d) { d.write("sub/x", ""); }),
      location("r45_through_a_file", "w.bin/x"),
      location("r45_symlink", "l.bin",
               [](const TempDir& d) {
                 d.write("w.bin", kWeights);
                 std::filesystem::create_symlink("w.bin", d.file("l.bin"));
               }),
      location("r45_symlink_parent", "l/w.bin",
               [](const TempDir& d) {
                 d.write("sub/w.bin", kWeights);
                 std::filesystem::create_directory_symlink("sub", d.file("l"));
               }),
      location("r45_hard_link", "h.bin",
               [](const TempDir& d) {
                 d.write("w.bin", kWeights);
                 std::filesystem::create_hard_link(d.file("w.bin"), d.file("h.bin"));
               }),
      location("r45_fifo", "fifo", [](const TempDir& d) { ::mkfifo(d.file("fifo").c_str(), 0600); }),
      outside("r45_no_location", {{"offset", "0"}}),
      outside("r45_no_entries", {}),
      {"r45_device_folder",
       [](const TempDir& dir) {
         ModelMaker m = add_model();
         external(*m.g().mutable_initializer(0), {{"location", "zero"}});
         (void)dir;
         return import_string(m.bytes(), "/dev");
       }},
      {"r45_model_from_memory",
       [](const TempDir&) {
         ModelMaker m = add_model();
         external(*m.g().mutable_initializer(0), {{"location", "w.bin"}});
         return import_string(m.bytes());
       }},
  };
}

Entries at(std::string offset, std::string length) {
  return {{"location", "w.bin"}, {"offset", std::move(offset)}, {"length", std::move(length)}};
}

std::vector<ErrorCase> range_cases() {
  const auto with = [](const std::string& key, const std::string& value) {
    return Entries{{"location", "w.bin"}, {key, value}};
  };
  return {
      outside("r46_good", at("0", "24")),
      outside("r46_offset_negative", at("-1", "24")),
      outside("r46_offset_not_a_number", at("12x", "24")),
      outside("r46_offset_empty", at("", "24")),
      outside("r46_offset_with_sign", at("+4", "24")),
      outside("r46_offset_2_63", at("9223372036854775808", "24")),
      outside("r46_offset_max", at("9223372036854775807", "24")),
      outside("r46_offset_past_end", at("25", "24")),
      outside("r46_range_past_end", at("4", "24")),
      outside("r46_length_negative", at("0", "-24")),
      outside("r46_length_short", at("0", "20")),
      outside("r46_length_petabyte", at("0", "1125899906842624")),
      outside("r46_file_short", with("offset", "0"), [](const TempDir& d) { d.write("w.bin", "short"); }),
      outside("r46_file_empty", with("offset", "0"), [](const TempDir& d) { d.write("w.bin", ""); }),
      {"r46_overlap",
       [](const TempDir& dir) {
         ModelMaker m = add_model();
         external(*m.g().mutable_initializer(0), at("0", "24"));
         external(m.floats("v", {2, 3}, {0, 0, 0, 0, 0, 0}), at("8", "24"));
         dir.write("w.bin", kWeights + kWeights);
         return import_file(dir.write("m.onnx", m.bytes()));
       }},
      {"r46_tied_weights_share_a_range",
       [](const TempDir& dir) {
         ModelMaker m = add_model();
         external(*m.g().mutable_initializer(0), at("0", "24"));
         external(m.floats("v", {3, 2}, {0, 0, 0, 0, 0, 0}), at("0", "24"));
         dir.write("w.bin", kWeights);
         return import_file(dir.write("m.onnx", m.bytes()));
       }},
      outside("r47_unknown_key", with("owner", "me")),
      outside("r47_basepath", with("basepath", "/etc")),
      outside("r47_duplicate_key", with("location", "w.bin")),
      location("r47_memory_address", "*/_ORT_MEM_ADDR_/*"),
      outside("r48_good_checksum", with("checksum", sha1_hex(std::as_bytes(std::span(kWeights))))),
      outside("r48_wrong_checksum", with("checksum", std::string(40, '0'))),
      outside("r48_checksum_of_other_length", with("checksum", "abc")),
      {"external_and_raw_data",
       [](const TempDir& dir) {
         ModelMaker m = add_model();
         external(*m.g().mutable_initializer(0), {{"location", "w.bin"}});
         m.g().mutable_initializer(0)->set_raw_data(kWeights);
         dir.write("w.bin", kWeights);
         return import_file(dir.write("m.onnx", m.bytes()));
       }},
      {"external_entries_without_the_flag",
       [](const TempDir& dir) {
         ModelMaker m = add_model();
         external(*m.g().mutable_initializer(0), {{"location", "../w.bin"}});
         m.g().mutable_initializer(0)->clear_data_location();
         return import_file(dir.write("m.onnx", m.bytes()));
       }},
  };
}

// Row 50: every way for a tensor to enter a model leads through the same checks.
std::vector<ErrorCase> entrance_cases() {
  const auto escape = [](TensorProto& t) -> TensorProto& {
    t.clear_dims();
    t.add_dims(3);
    t.set_data_type(kFloat);
    return external(t, {{"location", "../secret"}});
  };
  const auto constant = [=](onnx::NodeProto& n) {
    escape(*attribute(n, "value", onnx::AttributeProto::TENSOR).mutable_t());
  };
  const auto from = [](std::string name, std::function<void(ModelMaker&)> spoil) {
    return ErrorCase{std::move(name), [=](const TempDir& dir) {
                       ModelMaker m = relu_model();
                       spoil(m);
                       return import_file(dir.write("m.onnx", m.bytes()));
                     }};
  };
  return {
      from("r50_constant", [=](ModelMaker& m) { constant(m.node("Constant", {}, {"c"}, "c")); }),
      from("r50_sparse_constant",
           [=](ModelMaker& m) {
             auto* s =
                 attribute(m.node("Constant", {}, {"c"}, "c"), "sparse_value", onnx::AttributeProto::SPARSE_TENSOR)
                     .mutable_sparse_tensor();
             escape(*s->mutable_values());
             s->add_dims(4);
           }),
      from("r50_sparse_indices",
           [=](ModelMaker& m) {
             auto* s = m.g().add_sparse_initializer();
             const float v[3] = {1, 2, 3};
             ModelMaker::fill(*s->mutable_values(), "s", kFloat, {3}, v, 12);
             escape(*s->mutable_indices()).set_data_type(kInt64);
             s->add_dims(4);
           }),
      from("r50_attribute_tensor",
           [=](ModelMaker& m) {
             m.ints("shape", {1}, {3});
             escape(
                 *attribute(m.node("ConstantOfShape", {"shape"}, {"c"}, "fill"), "value", onnx::AttributeProto::TENSOR)
                      .mutable_t());
           }),
      from("r50_function",
           [=](ModelMaker& m) {
             m.import("local", 1);
             m.node("f", {}, {"c"}, "call").set_domain("local");
             auto* f = m.m.add_functions();
             f->set_name("f");
             f->set_domain("local");
             f->add_output("b");
             f->add_opset_import()->set_version(17);
             constant(ModelMaker::add_node(*f->mutable_node(), "Constant", {}, {"b"}, "inner"));
           }),
      from("r50_branch",
           [=](ModelMaker& m) {
             const char yes = 1;
             ModelMaker::fill(*m.g().add_initializer(), "cond", kBool, {}, &yes, 1);
             auto& n = m.node("If", {"cond"}, {"c"}, "choice");
             for (const char* name : {"then_branch", "else_branch"}) {
               auto* g = attribute(n, name, onnx::AttributeProto::GRAPH).mutable_g();
               escape(*g->add_initializer()).set_name(std::string(name) + "_w");
               g->add_output()->set_name(std::string(name) + "_w");
             }
           }),
  };
}

TEST(Errors, TensorStorage) {
  check_error_cases("tensor_storage", storage_cases());
}
TEST(Errors, SparseTensors) {
  check_error_cases("sparse_tensors", sparse_cases());
}
TEST(Errors, Interface) {
  check_error_cases("interface", interface_cases());
}
TEST(Errors, ExternalLocation) {
  check_error_cases("external_location", location_cases());
}
TEST(Errors, ExternalRange) {
  check_error_cases("external_range", range_cases());
}
TEST(Errors, ExternalEntrances) {
  check_error_cases("external_entrances", entrance_cases());
}

// Row 49: the bytes that were checked are the bytes that are used, whatever happens to the name afterwards.
TEST(Errors, ExternalFileSwappedAfterOpen) {
  const TempDir dir;
  ModelMaker m = add_model();
  external(*m.g().mutable_initializer(0), {{"location", "w.bin"}});
  dir.write("w.bin", kWeights);
  Result<Import> imported = import_file(dir.write("m.onnx", m.bytes()));
  ASSERT_TRUE(imported) << imported.error().text();
  std::filesystem::remove(dir.file("w.bin"));
  dir.write("w.bin", std::string(24, '\x7f'));
  ASSERT_EQ(imported->initializers.size(), 1u);
  EXPECT_EQ(imported->graph.value(imported->initializers[0].second).data.get_double(0), 0);
}

}  // namespace
}  // namespace fcc::test
