/* mark 1|2: tells the VMM, by its marker port, that the measured time begins or ends. A program,
 * since Debian's cloud kernel has no /dev/port. */
#include <stdlib.h>
#include <sys/io.h>

enum { kMarkerPort = 0xf8 };

int main(int argc, char** argv) {
  if (argc != 2 || ioperm(kMarkerPort, 1, 1) != 0) return 1;
  outb((unsigned char)atoi(argv[1]), kMarkerPort);
  return 0;
}
