// Checkpoints: the same bits after a resume, whatever interrupted the run; damaged and foreign files; full disks.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "train_support.h"

namespace fcc::test {
namespace {

const Clouds kData(203);

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void spit(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A safetensors file from its parts.
std::string tensor_file(const std::string& header, size_t data_bytes) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> 8 * i);
  return bytes + header + std::string(data_bytes, 'x');
}

void set_up(Trainer& trainer) {
  trainer.seed(99);
  trainer.set_lr(0.03);
  trainer.schedule("plateau(patience=0, factor=0.7, warmup=1)");
}

// Epochs of eleven steps, from wherever the trainer stands.
void train_to(Trainer& trainer, int64_t epochs) {
  while (trainer.progress().epoch < epochs) {
    train_epoch(trainer, kData, trainer.progress().epoch, trainer.progress().epoch_steps);
    trainer.end_epoch(trainer.progress().epoch == 1 ? 5.0 : 1.0);
  }
}

TEST(Checkpoint, ResumeInTheMiddleOfAnEpochGivesTheSameBits) {
  Trainer whole = open_trainer();
  set_up(whole);
  train_to(whole, 5);
  std::string path = scratch("middle.safetensors");
  {
    Trainer first = open_trainer();
    set_up(first);
    train_to(first, 2);
    train_epoch(first, kData, 2, 0, 4);
    first.set_note("best", "0.25 \"quoted\" \xc3\xa4");
    first.save(path);
  }
  TrainerOptions options;
  options.threads = 1;
  Trainer second = open_trainer(options);
  second.resume(path);
  EXPECT_EQ(second.progress().epoch_steps, 4);
  EXPECT_EQ(second.note("best"), "0.25 \"quoted\" \xc3\xa4");
  train_to(second, 5);
  EXPECT_TRUE(all_states(second) == all_states(whole));
  EXPECT_EQ(second.lr(), whole.lr());
  EXPECT_NE(second.lr(), 0.03);
}

TEST(Checkpoint, AfterKill9TheRunGoesOnWithTheSameBits) {
  Trainer whole = open_trainer();
  set_up(whole);
  train_to(whole, 6);
  std::string path = scratch("killed.safetensors");
  for (int life = 0; life < 3; ++life) {
    pid_t child = ::fork();
    if (child == 0) {
      Trainer trainer = open_trainer();
      if (std::filesystem::exists(path)) {
        trainer.resume(path);
      } else {
        set_up(trainer);
      }
      for (int64_t stop = trainer.progress().epoch + 2; trainer.progress().epoch < stop;) {
        train_epoch(trainer, kData, trainer.progress().epoch, trainer.progress().epoch_steps, 1);
        if (trainer.progress().epoch_steps == 11) trainer.end_epoch(trainer.progress().epoch == 1 ? 5.0 : 1.0);
        if (trainer.progress().steps % 5 == 0) trainer.save(path);
      }
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  Trainer last = open_trainer();
  last.resume(path);
  EXPECT_GE(last.progress().steps, 40);
  EXPECT_LT(last.progress().steps, 66);
  train_to(last, 6);
  EXPECT_TRUE(all_states(last) == all_states(whole));
}

TEST(Checkpoint, AKillWhileSavingLeavesAWholeFile) {
  std::string path = scratch("saving.safetensors");
  open_trainer().save(path);
  for (int life = 0; life < 20; ++life) {
    pid_t child = ::fork();
    if (child == 0) {
      Trainer trainer = open_trainer();
      for (;;) {
        trainer.step(TensorRef(kData.x).rows(0, 8), TensorRef(kData.labels).rows(0, 8));
        trainer.save(path);
      }
    }
    ::usleep(static_cast<useconds_t>(3000 + 700 * life));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    open_trainer().resume(path);  // throws when it is not whole
  }
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (const auto& file : std::filesystem::directory_iterator(folder))
    if (file.path().string().rfind(path + ".", 0) == 0) std::filesystem::remove(file.path());
}

TEST(Checkpoint, AFullDiskLeavesTheOldFile) {
  std::string path = scratch("full.safetensors");
  Trainer trainer = open_trainer();
  trainer.save(path);
  std::string old = slurp(path);
  trainer.step(TensorRef(kData.x).rows(0, 8), TensorRef(kData.labels).rows(0, 8));
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit small{1000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string text = error_of(FCC_BAD_FILE, [&] { trainer.save(path); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(text, "cannot write " + path + ": File too large");
  EXPECT_EQ(slurp(path), old);
  int beside = 0;
  for (const auto& file : std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()))
    beside += file.path().string().rfind(path + ".", 0) == 0;
  EXPECT_EQ(beside, 0);
  trainer.save(path);
  EXPECT_NE(slurp(path), old);
}

TEST(Checkpoint, OfAnotherModel) {
  std::string path = scratch("other.safetensors");
  open_trainer({}, "softmax_other").save(path);
  Trainer trainer = open_trainer();
  train_epoch(trainer, kData, 0);
  auto before = all_states(trainer);
  EXPECT_NE(
      error_of(FCC_BAD_FILE, [&] { trainer.resume(path); })
          .find("is a checkpoint of another model: its source has the hash 111111111111..., this one 000000000000"),
      std::string::npos);
  EXPECT_TRUE(all_states(trainer) == before);
  trainer.load_weights(path);  // the weights alone fit
  EXPECT_EQ(trainer.param("fc.weight").as<float>()[0], 0.1f);
  error_of(FCC_NOT_FOUND, [&] { trainer.resume("/nowhere.safetensors"); });
}

TEST(Checkpoint, SwappedAndDamagedValuesAreNoticed) {
  std::string path = scratch("swapped.safetensors");
  Trainer trainer = open_trainer();
  train_epoch(trainer, kData, 0);
  trainer.save(path);
  std::string good = slurp(path);
  auto before = all_states(trainer);
  // Two tensors of one shape change places: each has the other's name in the header.
  std::string swapped = good;
  const std::string bias = "\"fc.bias\":{\"dtype\"", slot = "\"optim/fc.bias/m\":{\"dtype\"";
  size_t slot_at = swapped.find(slot);
  ASSERT_NE(slot_at, swapped.npos);
  swapped.replace(slot_at, slot.size(), bias);
  size_t bias_at = swapped.find(bias);
  ASSERT_LT(bias_at, slot_at);
  swapped.replace(bias_at, bias.size(), slot);
  ASSERT_EQ(swapped.size(), good.size());
  spit(path, swapped);
  EXPECT_NE(error_of(FCC_BAD_FILE, [&] { trainer.resume(path); }).find("are not those that were saved"),
            std::string::npos);
  for (size_t back : {1u, 17u, 100u}) {
    std::string flipped = good;
    flipped[flipped.size() - back] ^= 1;
    spit(path, flipped);
    error_of(FCC_BAD_FILE, [&] { trainer.resume(path); });
  }
  for (size_t length = 0; length < good.size(); length += length < 16 ? 1 : 97) {
    spit(path, good.substr(0, length));
    error_of(FCC_BAD_FILE, [&] { trainer.resume(path); });
  }
  EXPECT_TRUE(all_states(trainer) == before);
  spit(path, good);
  trainer.resume(path);
}

TEST(Checkpoint, PendingGradientsTravelToo) {
  std::string path = scratch("pending.safetensors");
  Trainer a = open_trainer(), b = open_trainer();
  a.gradients(TensorRef(kData.x).rows(0, 8), TensorRef(kData.labels).rows(0, 8));
  a.save(path);
  b.gradients(TensorRef(kData.x).rows(8, 8), TensorRef(kData.labels).rows(8, 8));
  b.resume(path);
  a.apply();
  b.apply();
  EXPECT_TRUE(all_states(b) == all_states(a));
}

TEST(Checkpoint, OtherToolsReadIt) {
  std::string path = scratch("plain.safetensors");
  open_trainer().save(path);
  std::string bytes = slurp(path);
  EXPECT_EQ(bytes[8], '{');
  size_t header = static_cast<unsigned char>(bytes[0]) + 256u * static_cast<unsigned char>(bytes[1]);
  EXPECT_EQ((8 + header) % 8, 0u);
  EXPECT_NE(bytes.find("\"fc.weight\":{\"dtype\":\"F32\",\"shape\":[3,4],\"data_offsets\":["), std::string::npos);
}

struct Malformed {
  const char* header;
  size_t data_bytes;
  const char* said;
};
// Every one is a file that a careless reader would accept or crash on.
const Malformed kMalformed[] = {
    {"[]", 0, "is no JSON object"},
    {"{ ", 0, "a key is missing"},
    {"{} x", 0, "text after its end"},
    {"{\"a\":1}", 0, "must have dtype, shape and data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "must have dtype, shape and data_offsets"},
    {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "has an unknown dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "no list of sizes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "a number that is not whole"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "do not fit its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "no pair of rising numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "no pair of rising numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "a hole before tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "describes 4 bytes of data, it has 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":1}", 4, "stands there twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
     6, "an overlap before tensor"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "do not fit its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4, "a number too large"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "holds something else than texts"},
    {"{\"a\\q\":1}", 0, "an unknown escape"},
    {"{\"\xff\":1}", 0, "not UTF-8"},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, "is no JSON object"},
    {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, "nesting too deep"},
    {"{}", 0, "no checkpoint of fcc"},
    {"{\"__metadata__\":{\"format\":\"pt\"}}", 0, "no checkpoint of fcc"},
};

TEST(Checkpoint, MalformedHeadersAreRefused) {
  Trainer trainer = open_trainer();
  std::string path = scratch("malformed.safetensors");
  for (const Malformed& m : kMalformed) {
    spit(path, tensor_file(m.header, m.data_bytes));
    std::string text = error_of(FCC_BAD_FILE, [&] { trainer.resume(path); });
    EXPECT_NE(text.find(m.said), std::string::npos) << m.header << "\n" << text;
  }
  spit(path, std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  EXPECT_NE(error_of(FCC_BAD_FILE, [&] { trainer.resume(path); }).find("its header would have"), std::string::npos);
  spit(path, tensor_file("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4));
  EXPECT_NE(error_of(FCC_BAD_FILE, [&] { trainer.load_weights(path); }).find("lacks tensor \"fc.weight\""),
            std::string::npos);
}

}  // namespace
}  // namespace fcc::test
