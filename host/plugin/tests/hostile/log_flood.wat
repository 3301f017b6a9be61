;; Logs a hundred thousand lines, with control characters, then answers.
(import "cofferdam:host/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (local $count i32)
  (loop $more
    (call $log (i32.const 4) (i32.const 0) (i32.const 128) (i32.const 0) (i32.const 0))
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $count) (i32.const 100000))))
  (i32.const 320))
