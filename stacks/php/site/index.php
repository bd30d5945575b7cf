<!DOCTYPE html>
<html lang="en">
<title>PHP behind stackd</title>
<h1>PHP <?= htmlspecialchars(PHP_VERSION) ?></h1>
<p>You asked <?= htmlspecialchars($_SERVER['SCRIPT_NAME']) ?> for
<?= htmlspecialchars(($_SERVER['PATH_INFO'] ?? '') ?: 'nothing in particular') ?>.</p>
<form method="post" action="/upload" enctype="multipart/form-data">
<input type="file" name="file"> <button>Upload</button>
</form>
<p><a href="/fail">A page that fails</a></p>
