;; Returns a text that is none.
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (i32.store (i32.const 1024) (i32.const 0xfffefdfc))
  (i32.store (i32.const 328) (i32.const 1))
  (i32.store (i32.const 332) (i32.const 1024))
  (i32.store (i32.const 336) (i32.const 4))
  (i32.const 320))
