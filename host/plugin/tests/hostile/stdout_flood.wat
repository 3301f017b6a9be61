;; Prints for ever.
(import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
(import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (local $stream i32)
  (local.set $stream (call $stdout))
  (loop $more
    (call $write (local.get $stream) (i32.const 0) (i32.const 4096) (i32.const 8192))
    (br $more))
  unreachable)
