// The header is C++17 without warnings, and links from C++.
#include <matrixe2ee.h>

#include <cstring>
#include <memory>
#include <string>

// An override of the enum's type would break the ABI between C and C++.
static_assert(sizeof(matrixe2ee_status) == 4);
static_assert(std::is_standard_layout_v<matrixe2ee_clock>);

int main() {
    if (matrixe2ee_abi_version() != MATRIXE2EE_ABI_VERSION) return 1;
    char *out = nullptr;
    if (matrixe2ee_canonical_json("{\"b\": 1, \"a\": 2}", &out, nullptr) != MATRIXE2EE_STATUS_OK) return 1;
    std::unique_ptr<char, decltype(&matrixe2ee_string_free)> text(out, matrixe2ee_string_free);
    if (std::string(text.get()) != "{\"a\":2,\"b\":1}") return 1;

    matrixe2ee_error *error = nullptr;
    matrixe2ee_status status = matrixe2ee_canonical_json("not JSON", &out, &error);
    bool right = status == MATRIXE2EE_STATUS_INVALID_JSON && out == nullptr &&
                 std::strcmp(matrixe2ee_status_name(status), "INVALID_JSON") == 0;
    matrixe2ee_error_free(error);
    return right ? 0 : 1;
}
