# How deep the water is.
deeper() {
    echo $(($1 - 1))
}
