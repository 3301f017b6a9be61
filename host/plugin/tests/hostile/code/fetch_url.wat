;; Fetches the URL that its argument names, and gives back the host's error as its own.
(import "cofferdam:host/http@0.1.0" "fetch" (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
(data (i32.const 2048) "GET")
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (call $fetch (i32.const 2048) (i32.const 3)
    (i32.add (local.get $args) (i32.const 1)) (i32.sub (local.get $len) (i32.const 2))
    (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0)
    (i32.const 0) (i64.const 0)
    (i32.const 1024))
  ;; the error of a response stands where the error of a result does
  (select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024))))
