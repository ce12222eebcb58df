// Rows of kernels: each kind's columns and their aliases, the odd names of data types, every error at its line.
#include "sim/calibration/kernel_rows.hpp"

#include "tests/unit/calibration_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using models::Dim;
using models::OpKind;

namespace {

KernelCall one(KernelKind kind, const std::string& text) {
  const auto calls = test::calls_of(text, kind);
  REQUIRE(calls.size() == 1);
  return calls.front();
}

/// "line:col: message | hint" of the first row that cannot be read.
std::string complaint(KernelKind kind, const std::string& text) {
  const CsvTable table = test::table_of(text);
  const auto reader = RowReader::make(table, kind);
  if (!reader) return test::complaints(reader.error());
  for (const CsvRow& row : table.rows)
    if (const auto call = reader->read(row); !call) return test::complaints(call.error());
  return "accepted";
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

std::string gemm_row(const std::string& type) { return "m,n,k,dtype\n16,32,64," + type + "\n"; }

}  // namespace

TEST_CASE("a GEMM's row gives its loops, types and bytes; the order of columns is free") {
  const KernelCall call = one(KernelKind::gemm, "k,dtype,n,extra,m\n64,bfloat16,32,\"a, b\",16\n");
  CHECK(call.kind == KernelKind::gemm);
  CHECK(call.dim(Dim::m) == 16);
  CHECK(call.dim(Dim::n) == 32);
  CHECK(call.dim(Dim::k) == 64);
  CHECK(call.op.work.flops == 2.0 * 16 * 32 * 64);
  CHECK(call.op.work.bytes() == 2.0 * (16 * 64 + 64 * 32 + 16 * 32));
}

TEST_CASE("names of data types as measurement files write them") {
  struct Named {
    const char* text;
    Format stored, activations;
  };
  for (const Named& n : {Named{"bfloat16", Format::bf16, Format::bf16}, {"half", Format::fp16, Format::fp16}, {"float16", Format::fp16, Format::fp16},
                         {"bf16/fp16", Format::bf16, Format::bf16}, {"fp32 (as the artifact simulates it)", Format::fp32, Format::fp32},
                         {"fp8", Format::fp8_e4m3, Format::fp8_e4m3}, {"fp8_block", Format::fp8_e4m3, Format::fp8_e4m3}, {"int8", Format::int8, Format::int8},
                         {"int4_wo", Format::int4, Format::bf16}, {"int8_wo", Format::int8, Format::bf16}, {"w4a16_mxfp4", Format::mxfp4, Format::bf16},
                         {"nvfp4", Format::nvfp4, Format::nvfp4}}) {
    const KernelCall call = one(KernelKind::gemm, gemm_row(n.text));
    CHECK_MESSAGE(call.stored.format == n.stored, n.text);
    CHECK_MESSAGE(call.activations.format == n.activations, n.text);
  }
}

TEST_CASE("scales of a block format are bytes; a narrow GEMM writes 16 bits") {
  const double plain = one(KernelKind::gemm, "dtype,m,n,k\nfp8,128,128,128\n").op.work.bytes();
  CHECK(plain == 128.0 * 128 * (1 + 1 + 2));
  CHECK(one(KernelKind::gemm, "dtype,m,n,k\nfp8_block,128,128,128\n").op.work.bytes() > plain);
}

TEST_CASE("prefill attends causally over isl tokens, decode one token over kv_tokens") {
  const std::string cells = "2,512,32,8,128,0,bfloat16,fp8\n";
  const KernelCall prefill = one(KernelKind::attention_prefill, test::prefill_header + cells), decode = one(KernelKind::attention_decode, test::decode_header + cells);
  CHECK(prefill.dim(Dim::queries) == 512);
  CHECK(prefill.dim(Dim::keys) == 512);
  CHECK(prefill.dim(Dim::pairs) == 512.0 * 513 / 2);
  CHECK(decode.dim(Dim::queries) == 1);
  CHECK(decode.dim(Dim::keys) == 512);
  for (const KernelCall& call : {prefill, decode}) {
    CHECK(call.dim(Dim::batch) == 2);
    CHECK(call.dim(Dim::heads) == 32);
    CHECK(call.dim(Dim::kv_heads) == 8);
    CHECK(call.context == 512);
    CHECK(call.activations.format == Format::bf16);
    CHECK(call.stored.format == Format::fp8_e4m3);
  }
}

TEST_CASE("a window cuts the keys, not the context; without its column there is none") {
  const KernelCall windowed = one(KernelKind::attention_decode, test::decode_header + "1,4096,8,8,64,512,bf16,bf16\n");
  CHECK(windowed.window == 512);
  CHECK(windowed.dim(Dim::keys) == 512);
  CHECK(windowed.context == 4096);
  const KernelCall full = one(KernelKind::attention_decode, "batch_size,kv_tokens,num_heads,num_key_value_heads,head_dim,attn_dtype,kv_cache_dtype\n1,4096,8,8,64,bf16,bf16\n");
  CHECK(full.window == 0);
  CHECK(full.dim(Dim::keys) == 4096);
}

TEST_CASE("isl and kv_tokens stand for each other; where both are, prefill reads isl and decode kv_tokens") {
  const std::string tail = ",num_heads,num_key_value_heads,head_dim,window_size,attn_dtype,kv_cache_dtype\n", cells = ",8,8,64,0,bf16,bf16\n";
  CHECK(one(KernelKind::attention_prefill, "batch_size,kv_tokens" + tail + "1,77" + cells).dim(Dim::queries) == 77);
  CHECK(one(KernelKind::attention_decode, "batch_size,isl" + tail + "1,77" + cells).dim(Dim::keys) == 77);
  const std::string both = "batch_size,isl,kv_tokens" + tail + "1,3,77" + cells;
  CHECK(one(KernelKind::attention_prefill, both).dim(Dim::queries) == 3);
  CHECK(one(KernelKind::attention_decode, both).dim(Dim::keys) == 77);
}

TEST_CASE("MLA: prefill with heads of their own, decode absorbed over one latent head") {
  const std::string text = "mla_dtype,kv_cache_dtype,num_heads,batch_size,isl,kv_tokens\nbfloat16,fp8,16,4,1,1024\n";
  const KernelCall decode = one(KernelKind::mla_decode, text);
  CHECK(decode.dim(Dim::kv_heads) == 1);
  CHECK(decode.dim(Dim::qk_width) == 576);
  CHECK(decode.dim(Dim::v_width) == 512);
  CHECK(decode.dim(Dim::keys) == 1024);
  CHECK(decode.stored.format == Format::fp8_e4m3);
  const KernelCall prefill = one(KernelKind::mla_prefill, "mla_dtype,kv_cache_dtype,num_heads,batch_size,isl\nbfloat16,bfloat16,16,4,256\n");
  CHECK(prefill.dim(Dim::kv_heads) == 16);
  CHECK(prefill.dim(Dim::qk_width) == 192);
  CHECK(prefill.dim(Dim::v_width) == 128);
  CHECK(prefill.dim(Dim::queries) == 256);
}

TEST_CASE("an expert layer's row: routing, ranks and the slice of a rank") {
  const std::string header = "dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,distribution\n";
  const KernelCall call = one(KernelKind::moe, header + "bf16,256,4096,1536,8,128,1,4,power_law_1.2\n");
  CHECK(call.tokens == 256);
  CHECK(call.all_experts == 128);
  CHECK(call.expert_ranks == 4);
  CHECK(call.routing.kind == models::Routing::Kind::power_law);
  CHECK(call.routing.alpha == 1.2);
  const KernelCall whole = one(KernelKind::moe, "dtype,num_tokens,hidden_size,inter_size,topk,num_experts\nbf16,256,4096,1536,8,128\n");
  CHECK(whole.expert_ranks == 1);
  CHECK(whole.routing.kind == models::Routing::Kind::balanced);
  CHECK(whole.op.work.flops == doctest::Approx(4 * call.op.work.flops));
  const KernelCall sliced = one(KernelKind::moe, header + "bf16,256,4096,1536,8,128,2,1,uniform\n");
  CHECK(sliced.op.work.flops == doctest::Approx(whole.op.work.flops / 2).epsilon(0.01));
  for (const char* name : {"power_law_", "power_law_x", "power_law_-1", "power_law_inf", "power_law_nan", "zipf"})
    CHECK_MESSAGE(has(complaint(KernelKind::moe, header + "bf16,256,4096,1536,8,128,1,1," + name + "\n"), "is no distribution | balanced, uniform or power_law_ALPHA"), name);
  CHECK(has(complaint(KernelKind::moe, header + "bf16,256,4096,1536,9,8,1,1,\n"), "2:1: topk 9 is more than num_experts 8"));
}

TEST_CASE("an elementwise row: bytes in and out, and what its name tells") {
  const KernelCall bare = one(KernelKind::elementwise, "bytes_read,bytes_written\n32768,16384\n");
  CHECK(bare.op.work.bytes() == 32768 + 16384);
  CHECK(bare.op.kind == OpKind::elementwise);
  const std::string header = "tokens,hidden,bytes_read,bytes_written,dtype,op\n", cells = "4,8192,65536,65536,fp16,";
  for (const auto& [name, kind] : {std::pair{"input_layernorm", OpKind::rms_norm}, {"attn_rope", OpKind::rotary}, {"mlp_act", OpKind::activation}, {"emb", OpKind::embedding}, {"add", OpKind::elementwise}}) {
    const KernelCall call = one(KernelKind::elementwise, header + cells + name + "\n");
    CHECK_MESSAGE(call.op.kind == kind, name);
    CHECK(call.dim(Dim::m) == 4);
    CHECK(call.dim(Dim::m) * call.dim(Dim::n) * 2 == 65536);
  }
}

TEST_CASE("vector kinds read rows and cols, or one shape") {
  for (KernelKind kind : {KernelKind::softmax, KernelKind::layernorm, KernelKind::gelu}) {
    const KernelCall two = one(kind, "rows,cols,dtype\n4096,1024,fp16\n"), shape = one(kind, "shape,dtype\n4096x1024,half\n"), in_rows = one(kind, "rows,dtype\n4096x1024,\n");
    for (const KernelCall& call : {two, shape, in_rows}) {
      CHECK(call.dim(Dim::m) == 4096);
      CHECK(call.dim(Dim::n) == 1024);
      CHECK(call.op.work.bytes() == 2.0 * 2 * 4096 * 1024);
    }
  }
  CHECK(one(KernelKind::softmax, "shape\n4x8\n").activations.format == Format::fp16);
  for (const char* shape : {"x", "4x", "x8", "4x8x2", "4zx8", "0x8", "4x0", "-4x8", "infxinf", "1e13x1", "4096"})
    CHECK_MESSAGE(has(complaint(KernelKind::gelu, std::string("shape,dtype\n") + shape + ",fp16\n"), "2:1: '" + std::string(shape) + "' is no shape"), shape);
  CHECK(has(complaint(KernelKind::gelu, "rows,cols\n4,0\n"), "2:1: cols '0' is not a number from 1"));
}

TEST_CASE("a column that is missing is named with its aliases, at the header") {
  const std::string missing = complaint(KernelKind::gemm, "dtype,m,n\nbf16,1,1\n");
  CHECK(missing == "1:1: gemm needs a column 'k' | the file has dtype, m, n\n");
  CHECK(has(complaint(KernelKind::attention_prefill, "batch_size\n1\n"), "attention_prefill needs a column 'isl' or 'kv_tokens'"));
  for (int i = 0; i < kernel_kind_count; ++i) {
    const auto kind = static_cast<KernelKind>(i);
    CHECK(columns_of(kind).kind == kind);
    CHECK_MESSAGE(has(complaint(kind, "unrelated\n1\n"), "1:1: " + std::string(to_string(kind)) + " needs a column"), i);
  }
}

TEST_CASE("a cell that is no size is an error at its line that shows the cell") {
  for (const char* cell : {"", "0", "-1", "abc", "16x", "nan", "inf", "1e13", " 16", "0x10"}) {
    const std::string text = complaint(KernelKind::gemm, "dtype,m,n,k\nbf16,1,1,1\n\nbf16," + std::string(cell) + ",1,1\n");
    CHECK_MESSAGE(has(text, "4:1: m '" + std::string(cell) + "' is not a number from 1 to 1e+12"), text);
  }
  CHECK(has(complaint(KernelKind::attention_decode, test::decode_header + "1,64,8,8,64,-1,bf16,bf16\n"), "window_size '-1' is not a number from 0"));
  CHECK(complaint(KernelKind::gemm, "dtype,m,n,k\nbf16," + std::string(5000, '7') + ",1,1\n").size() < 300);
}

TEST_CASE("a data type that does not exist is an error at its line; weight-only names are for weights") {
  CHECK(has(complaint(KernelKind::gemm, gemm_row("bf61")), "2:1: dtype: "));
  CHECK(has(complaint(KernelKind::gemm, gemm_row("bf61")), "| `gambrel list formats` names them"));
  for (const char* type : {"w4a16_mxfp4", "nonsense"})
    CHECK_MESSAGE(has(complaint(KernelKind::attention_prefill, test::prefill_header + "1,16,8,8,64,0," + type + ",bf16\n"), "2:1: attn_dtype: "), type);
}

TEST_CASE("query heads that their key/value heads do not divide are refused") {
  CHECK(has(complaint(KernelKind::attention_decode, test::decode_header + "1,64,8,3,64,0,bf16,bf16\n"), "2:1: num_key_value_heads 3 does not divide num_heads 8"));
}

TEST_CASE("all that is wrong with a row is said at once") {
  const std::string text = complaint(KernelKind::gemm, "dtype,m,n,k\nbf61,0,x,1\n");
  for (const char* part : {"dtype: ", "m '0'", "n 'x'"}) CHECK_MESSAGE(has(text, part), std::string(part));
}

TEST_CASE("a row's key is its device and the columns that were read") {
  const CsvTable table = test::table_of("note,device,dtype,m,n,k,measured_us\nfirst,h100,bf16,1,2,3,9.5\nsecond,h100,bf16,1,2,3,8\nthird,a100,bf16,1,2,3,8\n");
  const auto reader = RowReader::make(table, KernelKind::gemm);
  REQUIRE(reader.has_value());
  CHECK(reader->key(table.rows[0]) == "h100|bf16|1|2|3");
  CHECK(reader->key(table.rows[0]) == reader->key(table.rows[1]));
  CHECK(reader->key(table.rows[0]) != reader->key(table.rows[2]));
}

TEST_CASE("the columns tell the kind, where they can") {
  auto told = [](const std::string& text) { return kind_of(test::table_of(text)); };
  CHECK(told("dtype,m,n,k\n") == KernelKind::gemm);
  CHECK(told(test::prefill_header) == KernelKind::attention_prefill);
  CHECK(told(test::decode_header) == KernelKind::attention_decode);
  CHECK(told("mla_dtype,isl\n") == KernelKind::mla_prefill);
  CHECK(told("mla_dtype,isl,kv_tokens\n") == KernelKind::mla_decode);
  CHECK(told("phase,mla_dtype,isl,kv_tokens\nprefill,bf16,1,1\n") == KernelKind::mla_prefill);
  CHECK(told("dtype,num_tokens,inter_size\n") == KernelKind::moe);
  CHECK(told("bytes_read,bytes_written\n") == KernelKind::elementwise);
  CHECK_FALSE(told("rows,cols,dtype\n").has_value());           // softmax, layernorm or gelu
  CHECK_FALSE(told("op,dtype,m,n,k,rows,cols\n").has_value());  // several kinds in one file
}

TEST_CASE("a suite's file: rows by kind, in order; what no kind reads is counted by its operator") {
  const CsvTable table = test::table_of(
      "device,op,dtype,m,n,k,rows,cols,version,measured_us\n"
      "c,fma,fp32,,,,,,own,1\nc,gemm,fp32,8,16,32,,,onednn,2\nc,softmax,fp32,,,,4,64,own,3\nc,stream_read,fp32,,,,,,own,4\nc,gemm,fp32,1,16,32,,,onednn,5\n"
      "c,layer_norm,fp32,,,,4,64,own,6\nc,fma,fp64,,,,,,own,7\nc,matmul,fp32,2,2,2,,,eigen,8\n");
  const auto mixed = rows_by_kind(table);
  REQUIRE(mixed);
  REQUIRE(mixed->kinds.size() == 3);
  CHECK(mixed->kinds[0].kind == KernelKind::gemm);
  CHECK(mixed->kinds[0].rows.size() == 3);
  CHECK(mixed->kinds[1].kind == KernelKind::softmax);
  CHECK(mixed->kinds[2].kind == KernelKind::layernorm);
  CHECK(describe_uncovered(*mixed) == "3 rows are skipped, for no kind of kernel reads them: fma (2), stream_read (1)");
  for (const KindRows& kind : mixed->kinds) {
    const auto reader = RowReader::make(table, kind.kind);
    REQUIRE(reader);
    for (const CsvRow* row : kind.rows) CHECK(reader->read(*row).has_value());
  }
  const auto softmax = RowReader::make(table, KernelKind::softmax)->read(*mixed->kinds[1].rows[0]);
  CHECK(softmax->measured_as == "softmax/own");  // versions are fitted apart
}

TEST_CASE("a file whose operators name no kind is of one kind, and so is one without that column") {
  CHECK_FALSE(rows_by_kind(test::table_of("op,bytes_read,bytes_written\nmlp_act,1,1\nadd,1,1\n")).has_value());
  CHECK_FALSE(rows_by_kind(test::table_of("dtype,m,n,k\nbf16,1,1,1\n")).has_value());
  const auto only = rows_by_kind(test::table_of("op,dtype,m,n,k\ngemm,bf16,1,1,1\n"));
  REQUIRE(only);
  CHECK(only->kinds.size() == 1);
  CHECK(describe_uncovered(*only).empty());
}

TEST_CASE("attention as the suite writes it: one data type, and a prompt's part after others") {
  const std::string header = "dtype,num_heads,head_dim,batch_size,isl,kv_tokens,num_key_value_heads\n";
  const KernelCall part = one(KernelKind::attention_prefill, header + "fp32,8,128,1,256,1024,2\n");
  CHECK(part.activations.format == Format::fp32);
  CHECK(part.stored.format == Format::fp32);
  CHECK(part.dim(Dim::queries) == 256);
  CHECK(part.dim(Dim::keys) == 1024);
  CHECK(part.dim(Dim::pairs) == 256.0 * 768 + 256.0 * 257 / 2);
  CHECK(one(KernelKind::attention_prefill, header + "fp32,8,128,1,256,256,2\n").dim(Dim::pairs) == 256.0 * 257 / 2);
}

TEST_CASE("kinds have names that read back") {
  for (int i = 0; i < kernel_kind_count; ++i) CHECK(parse_kernel_kind(to_string(static_cast<KernelKind>(i))) == static_cast<KernelKind>(i));
  CHECK_FALSE(parse_kernel_kind("GEMM").has_value());
  CHECK_FALSE(parse_kernel_kind("").has_value());
}
