/* The least that a relay does: the measure of what the machine takes for the work itself. The argument is its address.
 * Standard input has one line per socket, two per call: LOCAL_PORT PEER_IP PEER_PORT. What arrives on the first socket
 * of a call leaves from the second one towards its peer, and the other way round. It says "ready" and never ends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct end { int fd; struct sockaddr_in peer; };

int main(int argc, char **argv)
{
	static struct end ends[8192];
	int n = 0, local, port, ep = epoll_create1(0);
	char ip[64];

	while (n < 8192 && scanf("%d %63s %d", &local, ip, &port) == 3) {
		struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(local), .sin_addr.s_addr = inet_addr(argc > 1 ? argv[1] : "127.0.0.1") };
		struct epoll_event ev = { .events = EPOLLIN, .data.u32 = n };
		struct end *e = &ends[n++];
		e->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		e->peer.sin_family = AF_INET;
		e->peer.sin_port = htons(port);
		if (inet_pton(AF_INET, ip, &e->peer.sin_addr) != 1 || bind(e->fd, (struct sockaddr *)&own, sizeof own) < 0 ||
		    epoll_ctl(ep, EPOLL_CTL_ADD, e->fd, &ev) < 0) {
			perror("forward");
			return 1;
		}
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event evs[64];
		int got = epoll_wait(ep, evs, 64, -1);
		for (int i = 0; i < got; i++) {
			static char buf[2048];
			struct sockaddr_in from;
			socklen_t size = sizeof from;
			struct end *in = &ends[evs[i].data.u32], *out = &ends[evs[i].data.u32 ^ 1];
			ssize_t len = recvfrom(in->fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &size);
			if (len >= 0)
				sendto(out->fd, buf, len, 0, (struct sockaddr *)&out->peer, sizeof out->peer);
		}
	}
}
