;; Asks for stored values, and gives back the host's error as its own.
(import "cofferdam:host/kv@0.1.0" "get-many" (func $get (param i32 i32 i32)))
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (call $get (i32.const 0) (i32.const 0) (i32.const 1024))
  (select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024))))
