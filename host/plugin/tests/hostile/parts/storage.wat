;; What a storage has besides: it opens, takes commits of at most a megabyte, and has nothing.

;;;; cofferdam:storage/storage@0.1.0#open
(data (i32.const 640) "\00\00\00\00\00\00\00\00" "\01\00\00\00" "\01\00\00\00" "\00\00\10\00\00\00\00\00")
(func (export "cofferdam:storage/storage@0.1.0#open") (param i32 i32) (result i32) (i32.const 640))

;;;; cofferdam:storage/storage@0.1.0#commit
(func (export "cofferdam:storage/storage@0.1.0#commit") (param i32 i32) (result i32) (i32.const 60000))

;;;; cofferdam:storage/storage@0.1.0#read
(func (export "cofferdam:storage/storage@0.1.0#read") (param i32 i32 i64 i32) (result i32) (i32.const 60000))

;;;; cofferdam:storage/storage@0.1.0#list-runs
(func (export "cofferdam:storage/storage@0.1.0#list-runs") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 60000))

;;;; cofferdam:storage/storage@0.1.0#put-blob
(func (export "cofferdam:storage/storage@0.1.0#put-blob") (param i32 i32 i32 i32) (result i32) (i32.const 60000))

;;;; cofferdam:storage/storage@0.1.0#get-blob
(func (export "cofferdam:storage/storage@0.1.0#get-blob") (param i32 i32 i64 i32) (result i32) (i32.const 60000))

;;;; cofferdam:storage/storage@0.1.0#lease
(func (export "cofferdam:storage/storage@0.1.0#lease") (param i32 i32 i32 i32 i64 i64 i64 i32) (result i32) (i32.const 60000))

;;;; cofferdam:storage/storage@0.1.0#delete-run
(func (export "cofferdam:storage/storage@0.1.0#delete-run") (param i32 i32) (result i32) (i32.const 60000))

;;;; cofferdam:storage/storage@0.1.0#close
(func (export "cofferdam:storage/storage@0.1.0#close"))
