"""The reference pipeline on photos, thumbnails made too, one thread: processor time for each photo.

python3 faces_reference.py TOOLS PHOTO…
TOOLS holds reference_faces.py, which finds the models beside itself. Prints one JSON object.
"""

import json
import resource
import sys
import time

sys.path.insert(0, sys.argv[1])

import cv2  # noqa: E402
import reference_faces as reference  # noqa: E402

cv2.setNumThreads(1)
detector = reference.YuNet(long_side=1280)
embedder = reference.Embed("face-reidentification-retail-0095.onnx", "omz")
times, faces, stages = [], 0, {"decode": 0.0, "thumbnails": 0.0, "detect": 0.0, "embed": 0.0}
for number, path in enumerate(sys.argv[2:3] + sys.argv[2:]):
    begin = time.process_time()
    marks = [begin]
    image = reference.load_bgr(path)
    marks.append(time.process_time())
    for side, quality in ((2048, 85), (480, 78)):
        small, _ = reference.fit(image, side)
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    marks.append(time.process_time())
    _, _, landmarks = detector(image)
    marks.append(time.process_time())
    for points in landmarks:
        embedder(image, points)
    marks.append(time.process_time())
    if number == 0:
        continue  # the first run loads and plans
    faces += len(landmarks)
    times.append(marks[-1] - begin)
    for name, a, b in zip(stages, marks, marks[1:]):
        stages[name] += b - a
count = len(times)
print(
    json.dumps(
        {
            "photos": count,
            "faces": faces,
            "cpu_ms": 1000 * sum(times) / count,
            "stages": {name: 1000 * total / count for name, total in stages.items()},
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    )
)
