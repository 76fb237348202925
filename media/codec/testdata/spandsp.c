/* An oracle for tests: standard input to standard output through spandsp. oracle g722|alaw|ulaw encode|decode */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <spandsp.h>

int main(int argc, char **argv) {
	if (argc != 3) return 2;
	int encode = !strcmp(argv[2], "encode"), alaw = !strcmp(argv[1], "alaw");
	if (!strcmp(argv[1], "g722")) {
		uint8_t octets[160];
		int16_t samples[320];
		if (encode) {
			g722_encode_state_t *s = g722_encode_init(NULL, 64000, 0);
			for (int n; (n = fread(samples, 2, 320, stdin)) > 0;) fwrite(octets, 1, g722_encode(s, octets, samples, n), stdout);
		} else {
			g722_decode_state_t *s = g722_decode_init(NULL, 64000, 0);
			for (int n; (n = fread(octets, 1, 160, stdin)) > 0;) fwrite(samples, 2, g722_decode(s, samples, octets, n), stdout);
		}
		return 0;
	}
	if (encode) {
		for (int16_t v; fread(&v, 2, 1, stdin) == 1;) putchar(alaw ? linear_to_alaw(v) : linear_to_ulaw(v));
	} else {
		for (int c; (c = getchar()) != EOF;) {
			int16_t v = alaw ? alaw_to_linear(c) : ulaw_to_linear(c);
			fwrite(&v, 2, 1, stdout);
		}
	}
	return 0;
}
