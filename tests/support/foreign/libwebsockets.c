/* An echo server made of libwebsockets. What it does is in python.py.
 *
 *     cc -o server libwebsockets.c -lwebsockets
 */

#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One connection: the message that comes in, then goes out. */
struct session {
  unsigned char *data; /* after LWS_PRE bytes that are the library's */
  size_t size;
  int is_binary;
  int is_whole;
};

static int is_text(const struct session *session, const char *text) {
  return !session->is_binary && session->size == strlen(text) &&
         memcmp(session->data + LWS_PRE, text, session->size) == 0;
}

static int echo(struct lws *wsi, enum lws_callback_reasons event, void *user,
                void *in, size_t length) {
  struct session *session = user;
  switch (event) {
    case LWS_CALLBACK_RECEIVE:
      if (lws_is_first_fragment(wsi)) {
        session->size = 0;
        session->is_binary = lws_frame_is_binary(wsi);
      }
      session->data =
          realloc(session->data, LWS_PRE + session->size + length + 1);
      if (!session->data) return -1;
      if (length > 0) {
        memcpy(session->data + LWS_PRE + session->size, in, length);
      }
      session->size += length;
      if (!lws_is_final_fragment(wsi)) return 0;
      if (is_text(session, "kill")) kill(getpid(), SIGKILL);
      if (is_text(session, "close me")) {
        lws_close_reason(wsi, 4002, (unsigned char *)"enough", 6);
        return -1;
      }
      session->is_whole = 1;
      lws_callback_on_writable(wsi);
      return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
      if (!session->is_whole) return 0;
      session->is_whole = 0;
      lws_write(wsi, session->data + LWS_PRE, session->size,
                session->is_binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
      return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: {
      const unsigned char *frame = in;
      int code = length < 2 ? 1005 : frame[0] << 8 | frame[1];
      int rest = length < 2 ? 0 : (int)length - 2;
      printf("{\"on\": \"close\", \"code\": %d, \"reason\": \"%.*s\"}\n", code,
             rest, (const char *)in + 2);
      fflush(stdout);
      return 0;
    }
    case LWS_CALLBACK_CLOSED:
      free(session->data);
      session->data = NULL;
      return 0;
    default:
      return 0;
  }
}

int main(void) {
  lws_set_log_level(0, NULL);
  const struct lws_protocols protocols[] = {
      {.name = "echo", .callback = echo,
       .per_session_data_size = sizeof(struct session)},
      {.name = NULL},
  };
  struct lws_context_creation_info info = {
      .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS};
  struct lws_context *context = lws_create_context(&info);
  info.port = 0;
  info.iface = "127.0.0.1";
  info.protocols = protocols;
  struct lws_vhost *vhost = context ? lws_create_vhost(context, &info) : NULL;
  if (!vhost) return 1;
  printf("{\"on\": \"listening\", \"port\": %d}\n",
         lws_get_vhost_listen_port(vhost));
  fflush(stdout);
  while (lws_service(context, 0) >= 0) continue;
  return 0;
}
