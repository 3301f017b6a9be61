;; Returns a text of six million bytes.
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (drop (memory.grow (i32.const 100)))
  (memory.fill (i32.const 1024) (i32.const 0x61) (i32.const 6000000))
  (i32.store (i32.const 328) (i32.const 1))
  (i32.store (i32.const 332) (i32.const 1024))
  (i32.store (i32.const 336) (i32.const 6000000))
  (i32.const 320))
