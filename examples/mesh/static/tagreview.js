// The shop shows fewer reviews to robots.
export default async ({ params }) => {
  const robot = /bot|crawl/i.test(params.headers["user-agent"] ?? "");
  return { headers: { set: { "x-robot": String(robot) } } };
};
