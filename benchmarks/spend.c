/* spend: run a command and tell what it cost, from outside.
 *
 *   spend FILE COMMAND [ARGUMENT ...]     writes "wall user system peak" (seconds, seconds, seconds, KiB) into FILE; exits as COMMAND did
 *
 * The kernel counts into a process's peak memory what it was before its exec: started from a large one, it would seem as large. This one
 * has one MiB.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

int main(int argc, char **argv) {
  if (argc < 3) return 125;
  struct timespec began, ended;
  clock_gettime(CLOCK_MONOTONIC, &began);
  pid_t child = fork();
  if (child == 0) { execvp(argv[2], argv + 2); _exit(127); }
  int status; struct rusage used;
  if (child < 0 || wait4(child, &status, 0, &used) < 0) return 125;
  clock_gettime(CLOCK_MONOTONIC, &ended);
  FILE *out = fopen(argv[1], "w");
  if (!out) return 125;
  double wall = ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) / 1e9;
  fprintf(out, "%.6f %.6f %.6f %ld\n", wall, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss);
  if (fclose(out)) return 125;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
