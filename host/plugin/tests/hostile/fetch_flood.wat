;; Sends a thousand requests, and gives back the host's last error as its own.
(import "cofferdam:host/http@0.1.0" "fetch"
  (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
(data (i32.const 2048) "GET")
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (local $count i32)
  (loop $more
    (call $fetch (i32.const 2048) (i32.const 3)
      (i32.add (local.get $args) (i32.const 1)) (i32.sub (local.get $len) (i32.const 2))
      (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)
      (i32.const 0) (i64.const 0)
      (i32.const 1024))
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $count) (i32.const 1000))))
  (select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024))))
