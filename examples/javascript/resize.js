// Says how large a picture must be to fit into a box, as an HTTP endpoint:
// GET /function/nodejs-resize?width=4000&height=3000&box=800
module.exports = async ({ params }) => {
  const { width, height, box } = Object.fromEntries(Object.entries(params).map(([name, value]) => [name, Number(value)]));
  if (!(width > 0 && height > 0 && box > 0)) {
    return { statusCode: 422, body: 'width, height and box must be numbers above 0\n' };
  }
  const scale = Math.min(1, box / Math.max(width, height));
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
};
