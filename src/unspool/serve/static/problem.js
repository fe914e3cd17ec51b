// What a refused request says about it: the `detail` of its problem+json (RFC 9457).
export async function detail(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`;
  }
}
