/*
 * The load of the benchmark: one thread, raw sockets, epoll, and frames that are
 * made and masked once, so that the server is what is measured.
 *
 *     load MODE key=value ...
 *
 * MODE is echo (also: requests, round trips, large messages), fanout, handshake, idle
 * or rooms, of one server or of several that are joined. What it reports is one line of
 * JSON, with an entry for each stage.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* 64 bytes of JSON. */
static const char TEXT[] =
    "{\"type\":\"chat\",\"text\":\"hello there, how are you doing?\",\"n\":123}";

enum { MAX_HEAD = 4096, READ_SIZE = 1 << 18, MAX_DEPTH = 64, ID_DIGITS = 10 };
enum { MAX_SAMPLES = 1 << 21, MAX_FILES = 1 << 16, OPENING_AT_ONCE = 64 };
enum { MAX_NODES = 8, MAX_ROOMS = 1024, MAX_THREADS = 256 };

static const uint8_t MASK[4] = {0x12, 0x34, 0x56, 0x78};

enum speech { PLAIN, EVENTS, SOCKET_IO };
enum state { HEAD, ENGINE_OPEN, NAMESPACE, OPEN, CLOSING };

/* What was asked for on the command line. */
static struct {
  int port, pid, connections, depth, others[4], stages, size, requests, latency;
  int ports[MAX_NODES], nodes; /* of servers that are joined */
  int pids[MAX_NODES], processes; /* theirs, and the broker's */
  int rooms, lazy, alike; /* whether all nodes have senders */
  enum speech speech;
  double warm, seconds;
} opt = {.connections = 64, .depth = 1, .warm = 0.5, .seconds = 1};

struct connection {
  int fd;
  enum state state;
  char *head; /* of the HTTP answer, while it comes */
  size_t head_length;
  uint8_t header[10]; /* of the frame that comes */
  int header_length;
  uint64_t length, at; /* of its payload */
  uint8_t first[2];
  int items; /* of a batch, but for the first */
  int after_mark; /* whether the byte before was a mark */
  int pending; /* answers that are still to come */
  int room, has_heard;
  double sent_at;
  const uint8_t *out; /* what the socket had no room for */
  size_t out_length;
};

struct bytes {
  uint8_t *data;
  size_t length;
};

/* A room, whose sender sends again when all have what it has sent. */
struct room {
  struct connection *sender;
  int members;
  int64_t pending;
  double sent_at;
};

/* What a process has used: all of its threads, and the busiest of them. */
struct usage {
  int threads, ids[MAX_THREADS];
  double cpu, busiest, used[MAX_THREADS];
};

static enum { ECHO, FANOUT, HANDSHAKE, IDLE, ROOMS } mode;
static int epoll;
static struct connection *connections[MAX_FILES];
static int count, opened;
static const char *path = "/"; /* of those who are measured */
static uint64_t units; /* done so far */
static struct bytes burst, close_frame, credit_frame, join_frame;
static size_t ids[MAX_DEPTH]; /* where the ids of requests are in the burst */
static uint32_t id_masks[MAX_DEPTH]; /* and at which byte of the mask */
static int id_count;
static uint32_t next_id = 1000000000;
static struct connection *sender;
static int64_t deliveries; /* of this round of a fan-out that are still to come */
static struct room rooms[MAX_ROOMS];
static int is_probing; /* whether all servers know of all rooms */
static double last_at; /* when something has come last */
static uint32_t *samples; /* nanoseconds */
static int sample_count, is_sampling;
static uint32_t *other_samples; /* of every other room */
static int other_count;
static int unchecked = 10000; /* so many frames are looked into */
static uint8_t input[READ_SIZE];

static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

static double clock_of(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) != 0) die("cannot read a clock");
  return time.tv_sec + time.tv_nsec / 1e9;
}

static double now(void) { return clock_of(CLOCK_MONOTONIC); }

/* User and system time of all threads of a process, in nanoseconds' steps. */
static double cpu_of(int pid) {
  clockid_t clock;
  if (clock_getcpuclockid(pid, &clock) != 0) die("the server is gone");
  return clock_of(clock);
}

static double server_cpu(void) {
  double sum = 0;
  if (mode != ROOMS) return cpu_of(opt.pid);
  for (int i = 0; i < opt.processes; i++) sum += cpu_of(opt.pids[i]);
  return sum;
}

/* What a process and its threads have used so far. */
static struct usage usage_of(int pid) {
  struct usage usage = {.cpu = cpu_of(pid)};
  char name[300];
  snprintf(name, sizeof name, "/proc/%d/task", pid);
  DIR *folder = opendir(name);
  if (!folder) die("the server is gone");
  for (struct dirent *entry; (entry = readdir(folder));) {
    unsigned long long used;
    if (entry->d_name[0] == '.' || usage.threads == MAX_THREADS) continue;
    snprintf(name, sizeof name, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
    FILE *file = fopen(name, "r");
    if (!file) continue;
    if (fscanf(file, "%llu", &used) == 1) {
      usage.ids[usage.threads] = atoi(entry->d_name);
      usage.used[usage.threads++] = used / 1e9;
    }
    fclose(file);
  }
  closedir(folder);
  return usage;
}

/* What it has used since then. */
static struct usage usage_since(int pid, const struct usage *then) {
  struct usage now = usage_of(pid);
  now.cpu -= then->cpu;
  for (int i = 0; i < now.threads; i++) {
    double used = now.used[i];
    for (int j = 0; j < then->threads; j++)
      if (then->ids[j] == now.ids[i]) used -= then->used[j];
    if (used > now.busiest) now.busiest = used;
  }
  return now;
}

/* For how long the server's main thread was ready but not running, in seconds. */
static double server_waited(void) {
  char name[64];
  unsigned long long waited = 0;
  snprintf(name, sizeof name, "/proc/%d/schedstat", opt.pid);
  FILE *file = fopen(name, "r");
  if (!file) return 0; /* not every kernel tells */
  if (fscanf(file, "%*u %llu", &waited) != 1) waited = 0;
  fclose(file);
  return waited / 1e9;
}

static long faults_of(int pid) {
  char name[64];
  long faults = 0;
  snprintf(name, sizeof name, "/proc/%d/stat", pid);
  FILE *file = fopen(name, "r");
  if (!file) die("the server is gone");
  if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %ld", &faults) != 1)
    faults = 0;
  fclose(file);
  return faults;
}

/* How many pages the kernel has had to find for the servers' memory. */
static long server_faults(void) {
  long sum = 0;
  if (mode != ROOMS) return faults_of(opt.pid);
  for (int i = 0; i < opt.processes; i++) sum += faults_of(opt.pids[i]);
  return sum;
}

/* The memory that the server holds, in KiB. */
static long server_memory(void) {
  char name[64], line[256];
  long kib = 0;
  snprintf(name, sizeof name, "/proc/%d/status", opt.pid);
  FILE *file = fopen(name, "r");
  if (!file) die("the server is gone");
  while (fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kib);
  fclose(file);
  return kib;
}

/* The memory that the kernel holds for its own objects, sockets among them, in KiB. */
static long kernel_memory(void) {
  char line[256];
  long kib = 0;
  FILE *file = fopen("/proc/meminfo", "r");
  if (!file) return 0;
  while (fgets(line, sizeof line, file)) sscanf(line, "Slab: %ld", &kib);
  fclose(file);
  return kib;
}

/* --- frames ------------------------------------------------------------- */

static void append(struct bytes *to, const void *data, size_t length) {
  to->data = realloc(to->data, to->length + length);
  if (!to->data) die("out of memory");
  memcpy(to->data + to->length, data, length);
  to->length += length;
}

/* Appends a masked frame; returns where its payload begins. */
static size_t append_frame(struct bytes *to, int opcode, const void *payload,
                           size_t length) {
  uint8_t head[14] = {0x80 | opcode};
  size_t size = 2;
  if (length < 126) {
    head[1] = 0x80 | length;
  } else if (length < 65536) {
    head[1] = 0x80 | 126;
    head[2] = length >> 8, head[3] = length;
    size = 4;
  } else {
    head[1] = 0x80 | 127;
    for (int i = 0; i < 8; i++) head[2 + i] = (uint64_t)length >> (56 - 8 * i);
    size = 10;
  }
  memcpy(head + size, MASK, 4);
  append(to, head, size + 4);
  size_t start = to->length;
  append(to, payload, length);
  for (size_t i = 0; i < length; i++) to->data[start + i] ^= MASK[i & 3];
  return start;
}

static struct bytes text_frame(const char *text) {
  struct bytes result = {0};
  append_frame(&result, 1, text, strlen(text));
  return result;
}

/* One message as it is said; where its id is, or -1. */
static int write_item(char *item) {
  if (opt.speech == SOCKET_IO) {
    const char *event = mode == FANOUT || mode == ROOMS ? "all" : "message";
    if (opt.requests) return sprintf(item, "42%010d[\"ask\",%s]", 0, TEXT), 2;
    return sprintf(item, "42[\"%s\",%s]", event, TEXT), -1;
  }
  if (opt.requests) return sprintf(item, "\001?%010d,%s", 0, TEXT), 2;
  return strcpy(item, TEXT), -1;
}

static void note_id(size_t payload, size_t offset) {
  ids[id_count] = payload + offset;
  id_masks[id_count++] = offset;
}

/* What a connection sends in one go. */
static void make_burst(void) {
  char item[256], all[MAX_DEPTH * 256] = "\001[";
  int id = write_item(item);
  if (opt.size) {
    uint8_t *data = malloc(opt.size);
    for (int i = 0; i < opt.size; i++) data[i] = i * 7;
    const char head[] = "451-[\"message\",{\"_placeholder\":true,\"num\":0}]";
    if (opt.speech == SOCKET_IO) append_frame(&burst, 1, head, strlen(head));
    append_frame(&burst, 2, data, opt.size);
    free(data);
  } else if (opt.speech == EVENTS && opt.depth > 1) {
    int offsets[MAX_DEPTH];
    for (int i = 0; i < opt.depth; i++) {
      if (i) strcat(all, "\036");
      offsets[i] = strlen(all) + id;
      strcat(all, item);
    }
    size_t start = append_frame(&burst, 1, all, strlen(all));
    for (int i = 0; id >= 0 && i < opt.depth; i++) note_id(start, offsets[i]);
  } else {
    for (int i = 0; i < opt.depth; i++) {
      size_t start = append_frame(&burst, 1, item, strlen(item));
      if (id >= 0) note_id(start, id);
    }
  }
}

/* No id is used twice. */
static void number_requests(void) {
  for (int i = 0; i < id_count; i++) {
    uint32_t id = next_id++;
    for (int digit = ID_DIGITS - 1; digit >= 0; digit--, id /= 10)
      burst.data[ids[i] + digit] =
          ('0' + id % 10) ^ MASK[(id_masks[i] + digit) & 3];
  }
}

/* --- connections -------------------------------------------------------- */

static void watch(struct connection *c, int how, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(epoll, how, c->fd, &event) != 0) die("epoll: %m");
}

static void flush(struct connection *c) {
  while (c->out_length) {
    ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (sent < 0) die("cannot send: %m");
    c->out += sent;
    c->out_length -= sent;
  }
}

static void transmit(struct connection *c, struct bytes bytes) {
  if (c->out_length) die("a message is still under way");
  c->out = bytes.data;
  c->out_length = bytes.length;
  flush(c);
  if (c->out_length && id_count) die("no room for a request");
  if (c->out_length) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void send_burst(struct connection *c) {
  number_requests();
  c->pending = opt.depth;
  if (opt.latency) c->sent_at = now();
  transmit(c, burst);
}

static void send_to_all(void) {
  deliveries = (int64_t)opt.connections * opt.depth;
  transmit(sender, burst);
}

static void send_to_room(int number) {
  struct room *room = &rooms[number];
  room->pending = (int64_t)room->members * opt.depth;
  room->sent_at = now();
  transmit(room->sender, burst);
}

static struct connection *connect_at(int port, const char *path) {
  static uint32_t last;
  struct connection *c = calloc(1, sizeof *c);
  if (!c || !(c->head = malloc(MAX_HEAD))) die("out of memory");
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0) die("cannot make a socket: %m");
  int yes = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (mode == HANDSHAKE) {
    /* From many addresses of the loopback interface, as ports run out. */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + last++ % 100);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(c->fd, (void *)&address, sizeof address)) die("cannot bind: %m");
  }
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (connect(c->fd, (void *)&address, sizeof address))
    die("cannot connect: %m");
  char request[512];
  int length = sprintf(
      request,
      "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\n"
      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
      opt.speech == SOCKET_IO ? "/socket.io/?EIO=4&transport=websocket&path="
                              : "",
      path, port,
      opt.speech == EVENTS ? "Sec-WebSocket-Protocol: events.v1\r\n" : "");
  if (send(c->fd, request, length, MSG_NOSIGNAL) != length)
    die("cannot send: %m");
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
  count++;
  return c;
}

static struct connection *connect_to(const char *path) {
  return connect_at(opt.port, path);
}

static void end(struct connection *c) {
  close(c->fd);
  free(c->head);
  free(c);
  count--;
}

static void on_open(struct connection *c) {
  c->state = OPEN;
  opened++;
  if (mode == HANDSHAKE) {
    c->state = CLOSING;
    transmit(c, close_frame);
  } else if (opt.speech == EVENTS) {
    transmit(c, credit_frame); /* it takes all that comes */
  }
}

static void on_head(struct connection *c) {
  if (strncmp(c->head, "HTTP/1.1 101 ", 13)) die("refused: %s", c->head);
  if (opt.speech == EVENTS && !strstr(c->head, "events.v1"))
    die("the server does not speak events.v1");
  free(c->head);
  c->head = NULL;
  if (opt.speech == SOCKET_IO) c->state = ENGINE_OPEN;
  else on_open(c);
}

/* The next room, if one is served at a time, or the same one. */
static void on_room_served(int number) {
  if (opt.latency) {
    uint32_t time = (now() - rooms[number].sent_at) * 1e9;
    if (is_sampling && number && other_count < MAX_SAMPLES)
      other_samples[other_count++] = time;
    else if (is_sampling && sample_count < MAX_SAMPLES)
      samples[sample_count++] = time;
    number = (number + 1) % opt.rooms;
  }
  send_to_room(number);
}

static void on_units(struct connection *c, int number) {
  units += number;
  if (mode == ROOMS) {
    struct room *room = &rooms[c->room];
    last_at = now();
    c->has_heard = 1;
    if (is_probing) return;
    room->pending -= number;
    if (room->pending < 0) die("more has come than was sent");
    if (room->pending == 0) on_room_served(c->room);
    return;
  }
  if (mode == FANOUT) {
    deliveries -= number;
    if (deliveries < 0) die("more has come than was sent");
    if (deliveries == 0) send_to_all();
    return;
  }
  c->pending -= number;
  if (c->pending < 0) die("more has come than was asked for");
  if (c->pending > 0) return;
  if (is_sampling && sample_count < MAX_SAMPLES)
    samples[sample_count++] = (now() - c->sent_at) * 1e9;
  send_burst(c);
}

/* How many messages a frame of an open connection holds. */
static int units_of(struct connection *c, int opcode) {
  if (opcode > 2) return 0;
  if (opt.size) {
    if (opcode != 2) return 0; /* socket.io announces it */
    if (c->length != (uint64_t)opt.size) die("what came back is not what was sent");
    return 1;
  }
  if (opt.speech == EVENTS && c->first[0] == 1) {
    if (c->first[1] == '[') return c->items + 1;
    return c->first[1] == '!' || c->first[1] == '=';
  }
  if (opt.speech == SOCKET_IO) return c->first[0] == '4';
  return 1;
}

/* False if it is the connection's last. */
static int on_frame(struct connection *c, const uint8_t *end) {
  int opcode = c->header[0] & 15;
  if (opcode == 8) {
    if (c->state == CLOSING) return 0;
    die("the server closes a connection");
  }
  if (c->state == ENGINE_OPEN && c->first[0] == '0') {
    c->state = NAMESPACE;
    transmit(c, join_frame);
  } else if (c->state == NAMESPACE && c->first[0] == '4') {
    if (c->first[1] != '0') die("socket.io refuses");
    on_open(c);
  } else if (c->state == OPEN) {
    int number = units_of(c, opcode);
    if (number && !opt.size && unchecked && end - input >= (long)c->length) {
      unchecked--;
      if (!memmem(end - c->length, c->length, TEXT, sizeof TEXT - 1))
        die("what came back is not what was sent");
    }
    if (number) on_units(c, number);
  }
  return 1;
}

/* The length of a header of which so much is there; 0 if it is not known yet. */
static int header_size(struct connection *c) {
  if (c->header_length < 2) return 0;
  return c->header[1] < 126 ? 2 : c->header[1] == 126 ? 4 : 10;
}

static void begin_payload(struct connection *c) {
  int size = header_size(c);
  c->length = size == 2 ? c->header[1] : 0;
  for (int i = 2; i < size; i++) c->length = c->length << 8 | c->header[i];
  c->at = 0;
  c->items = c->after_mark = 0;
  c->first[0] = c->first[1] = 0;
}

/* Counts what is in a batch; credit among it is no message. */
static void count_items(struct connection *c, const uint8_t *data,
                        const uint8_t *end) {
  for (const uint8_t *at = data; (at = memchr(at, 036, end - at)); at++)
    c->items++;
  if (c->after_mark && *data == '+') c->items--;
  c->after_mark = end[-1] == 1;
  for (const uint8_t *at = data; (at = memchr(at, 1, end - 1 - at)); at++)
    if (at[1] == '+') c->items--;
}

static void take_payload(struct connection *c, const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size && c->at + i < 2; i++) c->first[c->at + i] = data[i];
  c->at += size;
  if (size && opt.speech == EVENTS && c->length > 125 && !opt.size)
    count_items(c, data, data + size);
}

/* False if the connection is over. */
static int take(struct connection *c, const uint8_t *data, const uint8_t *end) {
  if (c->state == HEAD) {
    size_t size = end - data;
    if (c->head_length + size >= MAX_HEAD) die("a very long answer");
    memcpy(c->head + c->head_length, data, size);
    c->head[c->head_length + size] = 0;
    char *last = strstr(c->head, "\r\n\r\n");
    if (!last) return c->head_length += size, 1;
    size_t rest = last + 4 - c->head - c->head_length;
    on_head(c);
    data += rest;
  }
  while (data < end) {
    int size = header_size(c);
    if (!size || c->header_length < size) {
      c->header[c->header_length++] = *data++;
      if (header_size(c) != c->header_length) continue;
      begin_payload(c);
    }
    uint64_t left = c->length - c->at;
    size_t part = left < (uint64_t)(end - data) ? left : (uint64_t)(end - data);
    take_payload(c, data, part);
    data += part;
    if (c->at < c->length) continue;
    c->header_length = 0;
    if (!on_frame(c, data)) return 0;
  }
  return 1;
}

static void receive(struct connection *c) {
  ssize_t size = recv(c->fd, input, sizeof input, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0 && c->state != CLOSING) die("a connection is lost: %m");
  if (size > 0 && take(c, input, input + size)) return;
  end(c);
  if (mode != HANDSHAKE) return;
  units++;
  connect_to("/");
}

static void poll_once(void) {
  struct epoll_event events[1024];
  if (opt.lazy && units) usleep(opt.lazy * 1000); /* so that much comes at once */
  int number = epoll_wait(epoll, events, 1024, 100);
  if (number < 0 && errno != EINTR) die("epoll: %m");
  for (int i = 0; i < number; i++) {
    struct connection *c = events[i].data.ptr;
    if (events[i].events & EPOLLOUT) {
      flush(c);
      if (!c->out_length) watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
    if (events[i].events & ~EPOLLOUT) receive(c);
  }
}

static void run_for(double seconds) {
  double end = now() + seconds;
  while (now() < end) poll_once();
}

/* Until the server has used so many seconds of CPU, as others may have its core for
   a while; but at most for 2.5 times as long. */
static void run_until_used(double seconds) {
  double start = now(), used = server_cpu() + seconds, next = 0;
  if (opt.lazy) return run_for(seconds);
  for (double time = start; time < start + 2.5 * seconds; time = now()) {
    poll_once();
    if (time < next) continue;
    if (server_cpu() >= used) return;
    next = time + 0.001;
  }
}

/* Opens more of them; the first is where they are noted. */
static void open_more(struct connection **list, int number, const char *path) {
  int goal = opened + number, begun = 0;
  while (opened < goal) {
    while (begun < number && goal - opened - (number - begun) < OPENING_AT_ONCE)
      list[begun++] = connect_to(path);
    poll_once();
  }
}

/* --- what is measured --------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static double sample(const uint32_t *all, int number, double part) {
  return number ? all[(int)((number - 1) * part)] / 1e3 : 0;
}

/* Measures a stage, and prints it. */
static void measure(int stage) {
  struct usage before[MAX_NODES];
  run_until_used(opt.warm);
  sample_count = other_count = 0;
  is_sampling = opt.latency;
  uint64_t units_before = units;
  for (int i = 0; i < opt.processes; i++) before[i] = usage_of(opt.pids[i]);
  double time = now(), server = server_cpu();
  double waited = server_waited();
  long faults = server_faults(), memory = opt.processes ? 0 : server_memory();
  double own = clock_of(CLOCK_PROCESS_CPUTIME_ID);
  run_until_used(opt.seconds);
  while (units == units_before && now() < time + 30) poll_once();
  time = now() - time;
  waited = server_waited() - waited;
  faults = server_faults() - faults;
  if (!opt.processes) memory = server_memory() - memory;
  server = server_cpu() - server;
  own = clock_of(CLOCK_PROCESS_CPUTIME_ID) - own;
  is_sampling = 0;
  if (units == units_before) die("nothing comes");
  qsort(samples, sample_count, sizeof *samples, ascending);
  qsort(other_samples, other_count, sizeof *other_samples, ascending);
  printf("%s{\"units\":%lu,\"seconds\":%.6f,\"server\":%.6f,\"load\":%.6f,"
         "\"median\":%.2f,\"p99\":%.2f,\"kib\":%.4f,\"waited\":%.6f,"
         "\"faults\":%ld,\"otherMedian\":%.2f,\"otherP99\":%.2f,\"processes\":[",
         stage ? "," : "", units - units_before, time, server, own,
         sample(samples, sample_count, 0.5), sample(samples, sample_count, 0.99),
         (double)memory / (units - units_before), waited, faults, sample(other_samples, other_count, 0.5),
         sample(other_samples, other_count, 0.99));
  for (int i = 0; i < opt.processes; i++) {
    struct usage used = usage_since(opt.pids[i], &before[i]);
    printf("%s{\"cpu\":%.6f,\"busiest\":%.6f}", i ? "," : "", used.cpu,
           used.busiest);
  }
  fputs("]}", stdout);
}

/* So many that are not addressed, then more of them. */
static void run_echo(void) {
  open_more(connections, opt.connections, path);
  for (int stage = 0; stage < opt.stages; stage++) {
    int rest = opt.others[stage] - count + opt.connections;
    if (rest > 0) open_more(connections + count, rest, path);
    if (stage == 0)
      for (int i = 0; i < opt.connections; i++) send_burst(connections[i]);
    measure(stage);
  }
}

static void run_fanout(void) {
  open_more(connections, opt.connections, "/");
  open_more(&sender, 1, "/all");
  send_to_all();
  measure(0);
}

/* Sends until all have heard something: until the broker knows of all rooms. Then waits
   until nothing more of it comes. */
static void probe_rooms(void) {
  double end = now() + 30;
  int missing = 1;
  is_probing = 1;
  while (missing) {
    if (now() > end) die("nothing comes to some members of rooms");
    for (int i = 0; i < opt.rooms; i++)
      if (!rooms[i].sender->out_length) transmit(rooms[i].sender, burst);
    run_for(0.2);
    missing = 0;
    for (int i = 0; i < opt.connections; i++) missing |= !connections[i]->has_heard;
  }
  while (now() < last_at + 0.5) poll_once();
  is_probing = 0;
}

/* Members of the rooms at all nodes, and a sender for each room: at the first node, or at
   all nodes alike. */
static void run_rooms(void) {
  char path[64];
  for (int i = 0; i < opt.connections + opt.rooms; i++) {
    int is_sender = i >= opt.connections;
    int turn = i / opt.rooms, number = i % opt.rooms;
    int node = is_sender ? (opt.alike ? number % opt.nodes : 0)
                         : (turn + number) % opt.nodes;
    snprintf(path, sizeof path, "%s/room%d", is_sender ? "/send" : "", number);
    struct connection *c = connect_at(opt.ports[node], path);
    c->room = number;
    connections[i] = c;
    if (is_sender) rooms[number].sender = c;
    else rooms[number].members++;
    while (opened <= i - OPENING_AT_ONCE) poll_once();
  }
  while (opened < count) poll_once();
  probe_rooms();
  for (int i = 0; i < (opt.latency ? 1 : opt.rooms); i++) send_to_room(i);
  measure(0);
}

static void run_handshakes(void) {
  for (int i = 0; i < opt.connections; i++) connect_to("/");
  measure(0);
}

/* Memory, each time the number of connections has grown. */
static void run_idle(void) {
  int first = opt.connections;
  open_more(connections, first, "/");
  run_for(opt.warm);
  long before = server_memory(), kernel = kernel_memory();
  for (int stage = 0; stage < opt.stages; stage++) {
    open_more(connections + count, opt.others[stage] - count + first, "/");
    run_for(opt.warm);
    printf("%s{\"units\":%d,\"seconds\":%.3f,\"server\":0,\"load\":0,"
           "\"median\":0,\"p99\":0,\"kib\":%.4f,\"kernel\":%.4f,\"waited\":0,"
           "\"faults\":0}",
           stage ? "," : "", opt.others[stage], opt.warm,
           (double)(server_memory() - before) / opt.others[stage],
           /* both ends are here */
           (double)(kernel_memory() - kernel) / opt.others[stage] / 2);
  }
}

/* Numbers with commas between them; how many there are. */
static int read_list(const char *text, int list[MAX_NODES]) {
  int number = 0;
  for (; text && number < MAX_NODES; text = strchr(text, ',')) {
    if (*text == ',') text++;
    list[number++] = atoi(text);
  }
  return number;
}

static void read_option(const char *text) {
  const char *value = strchr(text, '=');
  if (!value) die("no value: %s", text);
  size_t length = value++ - text;
  const struct { const char *name; int *at; } numbers[] = {
      {"port", &opt.port},         {"pid", &opt.pid},
      {"connections", &opt.connections}, {"depth", &opt.depth},
      {"size", &opt.size},         {"requests", &opt.requests},
      {"latency", &opt.latency},   {"rooms", &opt.rooms},
      {"lazy", &opt.lazy},         {"alike", &opt.alike},
  };
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (strlen(numbers[i].name) == length &&
        !strncmp(text, numbers[i].name, length)) {
      *numbers[i].at = atoi(value);
      return;
    }
  if (!strncmp(text, "warm=", 5)) opt.warm = atof(value);
  else if (!strncmp(text, "seconds=", 8)) opt.seconds = atof(value);
  else if (!strncmp(text, "ports=", 6)) opt.nodes = read_list(value, opt.ports);
  else if (!strncmp(text, "pids=", 5)) opt.processes = read_list(value, opt.pids);
  else if (!strncmp(text, "others=", 7)) {
    opt.stages = sscanf(value, "%d,%d,%d,%d", &opt.others[0], &opt.others[1],
                        &opt.others[2], &opt.others[3]);
  } else if (!strncmp(text, "path=", 5)) {
    path = value;
  } else if (!strncmp(text, "speech=", 7)) {
    opt.speech = !strcmp(value, "events") ? EVENTS
                 : !strcmp(value, "socket.io") ? SOCKET_IO : PLAIN;
  } else die("unknown option: %s", text);
}

static void raise_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
  if (argc < 2) die("no mode");
  mode = !strcmp(argv[1], "fanout") ? FANOUT
         : !strcmp(argv[1], "handshake") ? HANDSHAKE
         : !strcmp(argv[1], "idle") ? IDLE
         : !strcmp(argv[1], "rooms") ? ROOMS : ECHO;
  opt.stages = 1;
  for (int i = 2; i < argc; i++) read_option(argv[i]);
  if (opt.depth < 1 || opt.depth > MAX_DEPTH) die("not a depth: %d", opt.depth);
  if (opt.rooms > MAX_ROOMS) die("too many rooms: %d", opt.rooms);
  alarm(120);
  raise_limit();
  epoll = epoll_create1(0);
  samples = malloc(MAX_SAMPLES * sizeof *samples);
  other_samples = malloc(MAX_SAMPLES * sizeof *other_samples);
  close_frame.data = NULL;
  append_frame(&close_frame, 8, "\003\350", 2); /* 1000 */
  credit_frame = text_frame("\001+9007199254740991");
  join_frame = text_frame("40");
  make_burst();
  fputs("{\"stages\":[", stdout);
  if (mode == ECHO) run_echo();
  else if (mode == FANOUT) run_fanout();
  else if (mode == HANDSHAKE) run_handshakes();
  else if (mode == ROOMS) run_rooms();
  else run_idle();
  puts("]}");
  return 0;
}
