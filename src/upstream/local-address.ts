/** Whether a URL points to this machine or its own network. Pure: looks at the name, asks no resolver. */

const localV4 = [/^0\.0\.0\.0$/, /^127\./, /^10\./, /^192\.168\./, /^172\.(1[6-9]|2\d|3[01])\./, /^169\.254\./, /^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./];
const localV6 = [/^::1?$/, /^f[cd]/, /^fe[89ab]/];
const localNames = [/^localhost$/, /\.localhost$/, /\.local$/, /\.lan$/, /\.internal$/, /\.embassy$/, /\.startos$/, /\.home\.arpa$/];

export function isLocalUrl(url: string): boolean {
  const host = new URL(url).hostname.toLowerCase().replace(/\.$/, "");
  if (host.startsWith("[")) return localV6.some((pattern) => pattern.test(host.slice(1, -1)));
  if (/^\d+\.\d+\.\d+\.\d+$/.test(host)) return localV4.some((pattern) => pattern.test(host));
  // A name without a dot can only be a neighbour: a container, a machine on the LAN.
  return !host.includes(".") || localNames.some((pattern) => pattern.test(host));
}
