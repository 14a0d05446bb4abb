// Environment variables for the duration of a test, and code that must end its process.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace vltr::test {

// Sets an environment variable until its destructor.
class Setting {
 public:
  Setting(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~Setting() { unsetenv(name_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
};

struct Ending {
  bool clean;           // exit status 0
  std::string message;  // on stderr

  bool says(const char* text) const { return message.find(text) != std::string::npos; }
};

// Runs a function in a forked child of this process, which must have no other thread.
template <class Function>
Ending in_child(const Function& function) {
  int ends[2];
  std::fflush(nullptr);
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const rlimit no_core_file{0, 0};
    setrlimit(RLIMIT_CORE, &no_core_file);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    try {
      function();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "threw '%s'\n", error.what());
      _exit(1);
    }
    _exit(0);
  }
  close(ends[1]);
  Ending ending{};
  char part[4096];
  for (ssize_t got; (got = read(ends[0], part, sizeof(part))) > 0;)
    ending.message.append(part, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ending.clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return ending;
}

}  // namespace vltr::test
