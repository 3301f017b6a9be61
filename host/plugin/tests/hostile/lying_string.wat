;; Returns a text of which most lies beyond its memory.
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (i32.store (i32.const 332) (i32.const 65536))
  (i32.store (i32.const 336) (i32.const 0x00ff0000))
  (i32.const 320))
