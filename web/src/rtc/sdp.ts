/** The session id of an SDP's origin line (RFC 8866 §5.2): another id means another connection at the far end, not an ICE restart. */
export function sessionID(sdp: string | undefined): string {
  return /^o=\S+ (\S+) /m.exec(sdp ?? '')?.[1] ?? '';
}
