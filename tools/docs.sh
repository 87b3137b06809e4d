#!/bin/sh
# docs.sh [OUTPUT]: the API documentation of each language, in target/docs/<language>. `make docs`
# calls it after `make bindings`.
set -eu
cd "$(dirname "$0")/.."
output=${1:-target/docs}
mkdir -p "$output"
output=$(cd "$output" && pwd)

# fresh LANGUAGE: an empty folder for it.
fresh() {
    rm -rf "${output:?}/$1"
    mkdir -p "$output/$1"
    echo "$output/$1"
}

tools/need.sh cargo
cargo doc --locked --no-deps --lib
cp -R target/doc/. "$(fresh rust)"
tools/doxygen.sh "$(fresh c)"
for language in python kotlin; do
    bindings/$language/docs.sh "$(fresh $language)"
done

cat > "$output/index.html" << 'END'
<!DOCTYPE html>
<meta charset="utf-8">
<title>libmatrixe2ee</title>
<h1>libmatrixe2ee</h1>
<ul>
<li><a href="c/index.html">C and C++</a>
<li><a href="kotlin/index.html">Kotlin</a>
<li><a href="python/index.html">Python</a>
<li><a href="rust/matrixe2ee/index.html">Rust</a>
</ul>
END
echo "The documentation is in ${output#"$PWD"/}/index.html"
