// Errors of the compiled core. The Python layer checks what a person may have got wrong and says so in xplain's own
// words; what is checked here keeps a kernel from reading or writing outside its tensors whatever it is given.
#pragma once
#include <stdexcept>
#include <string>

namespace xp {

[[noreturn]] inline void refuse(const std::string& kernel, const std::string& why) {
  throw std::invalid_argument(kernel + ": " + why);
}
inline void require(bool holds, const char* kernel, const char* why) {
  if (!holds) refuse(kernel, why);
}

}  // namespace xp
