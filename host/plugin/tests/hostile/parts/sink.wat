;; What a sink has besides: it wants everything and takes it. Where the guests answer zeros, all is well.

;;;; cofferdam:sink/sink@0.1.0#open
(func (export "cofferdam:sink/sink@0.1.0#open") (param i32 i32) (result i32) (i32.const 60000))

;;;; cofferdam:sink/sink@0.1.0#deliver
(func (export "cofferdam:sink/sink@0.1.0#deliver") (param i32 i32 i32 i32 i32 i64) (result i32) (i32.const 60000))

;;;; cofferdam:sink/sink@0.1.0#flush
(func (export "cofferdam:sink/sink@0.1.0#flush") (result i32) (i32.const 60000))

;;;; cofferdam:sink/sink@0.1.0#close
(func (export "cofferdam:sink/sink@0.1.0#close"))
